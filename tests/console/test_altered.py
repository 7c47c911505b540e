"""Rotations as a test hardly comes to them: what is told of one is changed on its way to the page."""

import json
import time

from case import PHASES, Case
from cluster import wait_for

NOW = int(time.time() * 1000)
#: Longer than any name that people give, and without a place to break it.
LONG = "a-name-" + "x" * 153

#: Whatever rotation is asked for has these facts. Its end is told in these words, else nothing is.
ALTERED = """(() => {
    const [facts, text] = %s;
    let told = null;
    const stream = (rotation) => {
        const event = { seq: 1, at: rotation.finished_at, rotation, text };
        const headers = { "content-type": "text/event-stream" };
        return new Response(`id: 1\\ndata: ${JSON.stringify(event)}\\n\\n`, { headers });
    };
    return async (path, request, ask) => {
        if (!path.includes("/v1/rotations/")) return null;
        if (path.endsWith("/events")) return text ? stream(told) : new Response(null, { status: 204 });
        told = Object.assign(await (await ask()).json(), facts);
        return reply(told);
    };
})()"""

#: Events are refused to whoever asks.
UNHEARD = """async (path) => path.endsWith("/events") ? reply({
    title: "Forbidden", status: 403, code: "forbidden", detail: "nobody may hear this",
    safe: "Nothing has changed.", next_command: null,
}, 403) : null"""

#: Too many ask, while the case says so.
BUSY = """async (path) => window.isBusy && path.includes("/v1/rotations/") ? reply({
    title: "Too Many Requests", status: 429, code: "busy", detail: "too many ask",
    safe: "Nothing has changed.", next_command: null,
}, 429) : null"""

RECOVERY = {"recover": {"target": "op-1", "source": "rec-1"}}


def facts(*phases, **others):
    """Of a rotation that has come to the last of these phases, one a second."""
    begun = [[phase, NOW + index * 1000] for index, phase in enumerate(phases)]
    is_ended = phases[-1] in ("done", "aborted")
    return {
        "purpose": "rotate",
        "phase": phases[-1],
        "phases": begun,
        "started_at": NOW,
        "finished_at": begun[-1][1] if is_ended else None,
        "is_decided": phases[-1] == "done",
        "aborted_because": None,
        "keys_done": 0,
        "keys_total": 0,
        "units_done": 5,
        "units_total": 5,
        "waiting_for": [],
        **others,
    }


class Altered(Case):
    def see(self, found, *others, text=""):
        """The page of a rotation with these facts; gives its id."""
        browser = self.browser
        rotation = self.cluster.rotations()[-1]["rotation"]
        for script in (ALTERED % json.dumps([found, text]), *others):
            browser.stand_between(script)
        browser.sign_in(self.cluster.token(), f"#/rotations/{rotation}")
        browser.see("h1 .chip", found["phase"])
        return rotation

    def test_keys_in_quarantine_are_no_good_end(self):
        keys = {"keys_done": 3000, "keys_total": 3000, "keys_quarantined": 2}
        self.see(facts(*PHASES, **keys))
        browser = self.browser
        end = browser.see("#end.warn", "Master key rotated: 3,000 keys, 2 in quarantine, 5 of 5").text
        self.assertNotIn("0 failed", end)
        browser.see("#facts", "2 key versions that no crypto unit opened")
        self.assert_accessible("progressbar")
        self.assert_fits()

    def test_a_hold_after_commit_says_until_when_and_is_asked_about_seldom(self):
        browser = self.browser
        held = facts(*PHASES[:4], "hold-after-commit", hold_until=NOW + 3_600_000)
        rotation = self.see(held)
        browser.see(".doing", "Holding: time for whoever keeps wrapped keys elsewhere.")
        browser.see("#hold", "The hold lasts until")
        browser.see("#hold", "Keys are served; re-encryption begins after the hold")
        browser.see("#hold .command", f"keyhelm hold-end {rotation}")
        browser.see("#abort")
        browser.requests("")
        time.sleep(4)
        self.assertLessEqual(len(browser.requests(f"/v1/rotations/{rotation}")), 1)

    def test_a_recovery_has_its_own_words(self):
        browser = self.browser
        self.see(facts("inspect", "install", "clear", purpose=RECOVERY))
        browser.see("h1", "Master key recovery")
        self.assertIn("Master key recovery in", browser.driver.title)
        browser.see(".doing", "Ending the order in the recovery unit.")
        names = [name.text for name in browser.all(".phases .name")]
        self.assertEqual(names, ["inspect", "install", "clear", "done"])
        self.assertNotIn("old master key", browser.text("main"))
        self.assertNotIn("Master key rotation", browser.text("main"))
        browser.press("#abort")
        browser.see("dialog h2", "Abort the recovery?")
        browser.see("dialog", "a recovery changes no key")
        browser.press("dialog button", "Cancel")

    def test_a_recovery_ends_in_its_own_words(self):
        self.see(facts("inspect", "install", "clear", "done", purpose=RECOVERY))
        self.browser.see("#end.good", "Master key recovered, 3.00 s. Pattern ")
        self.browser.see(".numbers", "no keys")

    def test_an_end_is_told_as_whoever_ended_it_tells_it(self):
        text = "ended in whoever was still in it"
        self.see(facts("inspect", "aborted", aborted_because="nobody drove it"), text=text)
        self.browser.see("#end", "Aborted: nobody drove it. Ended in whoever was still in it.")
        self.browser.see(".phases", text)
        self.assertNotIn("othing has changed", self.browser.text("main"))

    def test_what_does_not_pass_is_not_drawn_over(self):
        self.see(facts("inspect", "generate"), UNHEARD)
        self.browser.see(".problem", "nobody may hear this")
        time.sleep(2)
        self.browser.see(".problem", "nobody may hear this")
        self.assertIn("Forbidden (403)", self.browser.text("main"))

    def test_what_passes_is_waited_for(self):
        browser = self.browser
        self.see(facts("inspect", "generate"), BUSY)
        browser.script("window.isBusy = true")
        browser.see(".notice", "The coordinator does not answer; trying again.")
        self.assertFalse(browser.has(".problem"))
        browser.script("window.isBusy = false")
        wait_for("no notice", lambda: "does not answer" not in browser.text("main"))

    def test_long_names_stay_on_the_page(self):
        waiting = {
            "process": "p",
            "name": LONG,
            "command": "install",
            "since": NOW - 60_000,
            "refusal": {"code": "busy", "text": LONG},
        }
        self.see(facts("inspect", "generate", "install", waiting_for=[waiting]))
        self.browser.see("#waiting", LONG)
        self.assert_fits()
