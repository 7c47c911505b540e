"""What is shown of an instance, against what the coordinator answers."""

from pathlib import Path
from urllib.request import urlopen

from case import Case
from cluster import INSTANCE, KEYS, wait_for

FILES = Path(__file__).parents[2] / "services" / "coordinator" / "console"

#: Markup, a frame, an image and a question to somebody else, as a script that got in would try.
INTRUDER = """
    const elsewhere = "https://example.invalid/";
    window.refused = [];
    addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
    try { document.body.innerHTML = "<p>other</p>"; } catch { /* It is told as a violation. */ }
    const [frame, image] = [document.createElement("iframe"), new Image()];
    [frame.src, image.src] = [elsewhere, elsewhere];
    document.body.append(frame, image);
    return fetch(elsewhere).then(() => "answered", () => "refused");
"""

#: Nobody answers, or units are not asked, while the case says so.
TROUBLE = """async (path) => {
    if (window.isAway && path.includes("/v1/")) throw new TypeError("away");
    return window.isBusy && path.endsWith("/compare") ? reply({
        title: "Service Unavailable", status: 503, code: "busy", detail: "too many ask",
        safe: "Nothing has changed.", next_command: null,
    }, 503) : null;
}"""

#: No unit is heard, and no standing order is in force.
SILENT = """async (path, request, ask) => {
    if (!/\\/(compare|instances)$/.test(path)) return null;
    const body = await (await ask()).json();
    if (Array.isArray(body)) for (const instance of body) instance.standing_order_until = null;
    else for (const unit of body.units) unit.state = window.isSilent ? null : unit.state;
    return reply(body);
}"""

#: Longer than any name that people give, and without a place to break it.
LONG = "a-name-" + "x" * 153

#: Everything that has a name has a long one, but the instance, which is asked for by it.
LONG_NAMES = """async (path, request, ask) => {
    const name = "%s";
    if (!/\\/(compare|instances)$/.test(path)) return null;
    const body = await (await ask()).json();
    if (Array.isArray(body)) return reply([...body, { ...body[0], id: "other", name }]);
    for (const { member } of body.units) Object.assign(member, { name, location: name });
    body.unmet = [{ code: "silent", subject: name, text: name, mend: `keyhelm ${name}` }];
    return reply(body);
}"""

#: The parts of the page above which it is said that they are old.
OLD = """return [...document.querySelectorAll(".stale")]
    .filter((note) => note.checkVisibility())
    .map((note) => note.nextElementSibling.querySelector("section")?.id)
    .filter(Boolean)"""


class Instance(Case):
    def setUp(self):
        super().setUp()
        self.browser.sign_in(self.cluster.token())
        self.browser.see("#units")

    def test_units_are_shown_as_they_report(self):
        view = self.cluster.get(f"instances/{INSTANCE}/units")
        types = {"operational-unit": "OPERATIONAL", "recovery-unit": "RECOVERY"}
        wanted = [
            [
                str(unit["number"]),
                unit["member"]["name"],
                types[unit["member"]["role"]],
                unit["member"]["location"],
                "answers",
                "local",
                "1 to sign, 1 to revoke",
                "in step",
            ]
            for unit in view["units"]
        ]
        self.assertEqual(len(wanted), 5)
        self.assertEqual(self.browser.rows("#units table"), wanted)
        self.browser.see(".tiles", "5 of 5 answer")
        self.browser.see(".tiles", "Ready to rotate")

    def test_registers_are_shown_with_patterns_on_two_lines_of_32_digits(self):
        current = self.cluster.current()
        for number, row in enumerate(self.browser.rows("#registers table"), 1):
            self.assertEqual(row[0], str(number))
            self.assertEqual(row[2].split(), ["Empty", "0" * 32, "0" * 32])
            self.assertEqual(row[3].split(), ["Valid", current[:32], current[32:]])
        script = """return [...document.querySelectorAll("#registers .pattern")].map(
            (found) => found.getClientRects().length === 1 && [...found.children].map(
                (line) => line.getBoundingClientRect().top))"""
        for tops in self.browser.script(script):
            self.assertLess(tops[0], tops[1])

    def test_key_storage_order_and_rotations_are_shown(self):
        view = self.cluster.get(f"instances/{INSTANCE}/units")
        (row,) = view["keystores"]
        (shown,) = self.browser.rows("#keystores table")
        self.assertEqual(
            shown[:4],
            [row["keystore"], f"{KEYS:,} key versions", str(row["active"]["number"]), "open"],
        )
        digits = row["active"]["pattern"]
        self.assertEqual(shown[4].split(), [digits[:32], digits[32:]])
        orders = self.browser.see("#orders").text
        for part in (
            "in force",
            "coordinators may rotate as often as asked, until",
            "alice",
            "1 signature",
            "number 1",
        ):
            self.assertIn(part, orders)
        rotations = self.cluster.rotations()
        shown = self.browser.rows("#rotations table")
        ids = [view["rotation"] for view in rotations]
        self.assertEqual([row[0].split()[-1] for row in shown], ids)
        self.assertEqual([row[2] for row in shown], [view["phase"] for view in rotations])

    def test_warnings_are_there_with_their_mends(self):
        compare = self.cluster.get(f"instances/{INSTANCE}/compare")
        self.assertEqual(len(compare["warnings"]), 5)
        self.browser.press(".worth summary", "5 things worth knowing")
        shown = self.browser.text(".worth .findings")
        for warning in compare["warnings"]:
            for part in ("subject", "text", "mend"):
                self.assertIn(warning[part], shown)

    def test_the_page_and_the_dialog_are_accessible_and_fit(self):
        self.assert_accessible("table", "region", "columnheader", "rowheader", "link")
        self.assert_fits()
        self.browser.size(390)
        self.assert_accessible("table", "columnheader", "rowheader")
        self.browser.press("#rotate")
        self.browser.see("dialog button", "Rotate now")
        self.assert_accessible("dialog", "radio", "checkbox")
        self.assert_fits()

    def test_a_part_that_was_not_answered_is_marked_and_the_time_vouches_for_no_old_one(self):
        browser = self.browser
        self.stand_between(TROUBLE)
        browser.see(".as-of", "as of")
        browser.script("window.isBusy = true")
        browser.press("#refresh")
        browser.see(".problem", "too many ask")
        browser.see(".as-of", "not renewed since")
        self.assertEqual(browser.script(OLD), ["units", "registers", "keystores"])
        self.assertEqual(len(browser.rows("#units table")), 5)
        self.assert_accessible("table", "button")
        browser.script("[window.isBusy, window.isAway] = [false, true]")
        browser.press("#refresh")
        browser.see(".problem", "does not answer")
        wait_for("one box for all", lambda: len(browser.all(".problem")) == 1)
        old = ["units", "registers", "keystores", "orders", "rotations"]
        wait_for("all of it to be old", lambda: browser.script(OLD) == old)
        browser.script("window.isAway = false")
        browser.see(".as-of", "as of")
        browser.gone(".problem")
        self.assertEqual(browser.script(OLD), [])

    def test_what_cannot_be_started_from_here_is_not_called_ready(self):
        browser = self.browser
        self.stand_between(SILENT)
        browser.see(".tiles", "Needs signatures")
        browser.script("window.isSilent = true")
        browser.press("#refresh")
        browser.see(".tiles", "0 of 5 answer")
        browser.see(".tiles", "nobody answers")
        self.assertNotIn("Empty", browser.text(".tiles"))

    def test_long_names_stay_on_the_page(self):
        browser = self.browser
        browser.stand_between(LONG_NAMES % LONG)
        browser.sign_in(self.cluster.token(subject=LONG))
        browser.see("#units", LONG)
        browser.see("#unmet", LONG)
        browser.see("#who", LONG)
        browser.see("#chooser")
        self.assert_fits()

    def stand_between(self, script):
        """Comes back to the page, with this between it and the coordinator."""
        self.browser.stand_between(script)
        self.browser.sign_in(self.cluster.token())
        self.browser.see("#units")

    def test_what_is_served_is_what_stands_in_the_sources(self):
        names = sorted(path.name for path in FILES.iterdir())
        self.assertIn("console.js", names)
        for name in names:
            with urlopen(f"{self.browser.url}{name}") as answer:
                self.assertEqual(answer.read(), (FILES / name).read_bytes(), name)
                self.assertIn("default-src 'none'", answer.headers["content-security-policy"])


class Policy(Case):
    complaints = ("Content Security Policy", "TrustedHTML", "TrustedScript")

    def test_nothing_but_the_console_runs_in_its_page(self):
        browser = self.browser
        browser.open()
        browser.see("#token")
        self.assertEqual(browser.script(INTRUDER), "refused")
        wanted = {"require-trusted-types-for", "frame-src", "img-src", "connect-src"}
        wait_for("violations", lambda: wanted <= set(browser.script("return refused")))
        self.assertNotIn("other", browser.text())
