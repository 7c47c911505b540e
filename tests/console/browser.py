"""A headless Chromium, and what can be asked of a page in it."""

import json
import re
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from cluster import wait_for

#: Roles of the accessibility tree that mean nothing without a name.
NAMED = {
    "button",
    "link",
    "textbox",
    "combobox",
    "table",
    "dialog",
    "radio",
    "checkbox",
    "progressbar",
    "heading",
    "region",
    "radiogroup",
    "image",
    "columnheader",
    "rowheader",
    "DisclosureTriangle",
}

#: Finds text that stands out too little from what is behind it.
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


class Browser:
    """One tab. Everything that the browser complains of is kept until it is asked for."""

    def __init__(self, server):
        self.url = f"{server}/console/"
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.size(1280)

    def quit(self):
        self.driver.quit()

    def size(self, width, height=900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, place=""):
        """Anew, as from a bookmark: a change of the fragment alone would load nothing."""
        self.driver.get("about:blank")
        self.driver.get(self.url + place)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def see(self, css, text=None):
        """The element that is shown (with this text in it), once it is."""

        def look():
            script = """return [...document.querySelectorAll(arguments[0])].find(
                (found) => found.checkVisibility() && found.innerText.includes(arguments[1]))"""
            return self.driver.execute_script(script, css, text or "")

        return wait_for(f"{css} with {text!r}, only: {self.text()[:2000]!r}", look)

    def gone(self, css):
        """Waits until nothing of the kind is in the page: a dialog goes a moment after its button."""
        wait_for(f"no {css}", lambda: not self.all(css))

    def has(self, css):
        return any(found.is_displayed() for found in self.all(css))

    def text(self, css="body"):
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return self.driver.execute_script(script, css)

    def press(self, css, text=None):
        self.see(css, text).click()

    def active(self):
        return self.driver.switch_to.active_element

    def rows(self, css):
        """The cells of a table, row by row."""
        script = """return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].map(
            (row) => [...row.cells].map((cell) => cell.innerText.trim()))"""
        return self.driver.execute_script(script, css)

    def sign_in(self, token, place=""):
        self.open(place)
        self.type_token(token)

    def type_token(self, token):
        field = self.see("#token")
        field.clear()
        field.send_keys(token)
        self.press(".sign-in button", "Sign in")

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def key(self, name, number, text=""):
        """Pressed wherever the focus is, as by a person."""
        key = {"key": name, "code": name, "windowsVirtualKeyCode": number}
        for kind in ({"type": "keyDown", "text": text}, {"type": "keyUp"}):
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {**kind, **key})

    def tab(self):
        self.key("Tab", 9)

    def enter(self):
        self.key("Enter", 13, "\r")

    def stand_between(self, script):
        """From the next load on answers in the coordinator's stead: `script` is a function of the
        path that is asked for, the request, and `ask`, which asks the coordinator; null leaves it
        to that one. `reply` makes an answer."""
        source = f"""{{
            const fetched = window.fetch.bind(window);
            const reply = (body, status = 200) => {{
                const type = status < 400 ? "application/json" : "application/problem+json";
                return Response.json(body, {{ status, headers: {{ "content-type": type }} }});
            }};
            const instead = {script};
            window.fetch = async (where, request) => {{
                const ask = () => fetched(where, request);
                return (await instead(new URL(where).pathname, request, ask)) ?? ask();
            }};
        }}"""
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})

    def complaints(self, expected_statuses=(), expected=()):
        """What the browser complains of, but refusals that the case is about."""
        texts = [entry["message"] for entry in self.driver.get_log("browser")]
        known = [f"status of {status} " for status in expected_statuses] + list(expected)
        return [text for text in texts if not any(part in text for part in known)]

    def requests(self, part):
        """Headers of each request so far whose address has this in it."""
        log = self.driver.get_log("performance")
        entries = (json.loads(entry["message"])["message"] for entry in log)
        kind = "Network.requestWillBeSent"
        sent = (entry["params"] for entry in entries if entry["method"] == kind)
        return [
            {name.lower(): value for name, value in found["request"]["headers"].items()}
            for found in sent
            if part in found["request"]["url"]
        ]

    def unnamed(self):
        """How many nodes of the accessibility tree need a name, and those that have none."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        needy = [
            (node["role"]["value"], node.get("name", {}).get("value", "").strip())
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in NAMED
        ]
        return needy, [role for role, name in needy if not re.search(r"\w", name)]

    def faint(self):
        """How many texts there are, and those that can hardly be read."""
        return self.script(f"{CONTRAST}\nreturn faint();")

    def overflow(self):
        """Pixels that the page is wider than the window."""
        return self.script("return document.documentElement.scrollWidth - innerWidth")
