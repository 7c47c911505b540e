"""What is asked for once more before anything changes, and what is said when it came to something else."""

import json
import time

from case import Watched
from cluster import INSTANCE

#: A start finds what somebody has left behind.
LEFT_BEHIND = """async (path, request) => {
    const isStart = request.method === "POST" && !JSON.parse(request.body).dry_run;
    return isStart ? reply(%s) : null;
}"""


class Start(Watched):
    def test_a_doubled_enter_confirms_nothing_that_is_unread(self):
        browser = self.browser
        count = len(self.cluster.rotations())
        browser.press("#rotate")
        browser.see("dialog h2", f"Rotate the master key of {INSTANCE}")
        browser.see("dialog button", "Rotate now")
        self.assertEqual(browser.active().text, "Plan")
        browser.enter()
        time.sleep(1)
        self.assertTrue(browser.has("dialog .plan"))
        self.assertEqual(len(self.cluster.rotations()), count)
        self.assertEqual(self.cluster.current(), self.before)

    def test_a_dialog_goes_with_the_page_that_it_is_about(self):
        browser = self.browser
        rotation = self.cluster.rotations()[-1]["rotation"]
        browser.press("#rotate")
        browser.see("dialog .plan")
        browser.script("location.hash = arguments[0]", f"#/rotations/{rotation}")
        browser.see("#end")
        browser.gone("dialog")
        browser.press(".back a", INSTANCE)
        browser.press("#rotate")
        browser.see("dialog .plan")
        # Whoever is signed out by an answer presses no button.
        browser.script("document.getElementById('sign-out').click()")
        browser.see("#token")
        browser.gone("dialog")

    def test_one_that_was_running_already_is_named_before_it_is_followed(self):
        browser = self.browser
        browser.press("#rotate")
        browser.see("dialog .plan")
        with self.cluster.held() as hold:
            started = self.cluster.post(f"instances/{INSTANCE}/rotations", {"mode": "strict"})
            rotation = started["rotation"]["rotation"]
            browser.press("dialog button", "Rotate now")
            browser.see("dialog h3", "Nothing new was started")
            browser.see("dialog p", "Another rotation was running already")
            self.assertEqual(browser.active().text, "Nothing new was started")
            self.assert_accessible("dialog", "button", "heading")
            browser.press("dialog button", "Follow it")
            browser.see(".phases .now", "reencrypt")
            self.assertTrue(browser.driver.current_url.endswith(rotation))
            hold.release()
            self.see_done(rotation)

    def test_after_one_that_was_left_behind_the_start_is_offered_once_more(self):
        browser = self.browser
        rotation = self.cluster.rotations()[-1]
        warning = {
            "code": "taken-up",
            "subject": "instance",
            "text": "it was left behind by whoever drove it: it is ended first",
            "mend": "keyhelm auto-mk-rotate --yes",
        }
        started = {"joined": True, "rotation": rotation, "warnings": [warning], "plan": None}
        browser.stand_between(LEFT_BEHIND % json.dumps(started))
        browser.sign_in(self.cluster.token())
        browser.press("#rotate")
        browser.press("dialog button", "Rotate now")
        browser.see("dialog h3", "Another one comes first")
        browser.see("dialog .findings", warning["text"])
        self.assert_accessible("dialog", "button", "heading")
        browser.press("dialog button", "Follow it")
        browser.see("#end")
        self.assertIn(rotation["rotation"], browser.driver.current_url)
        browser.see(".notice", "What was left behind")
        self.assert_accessible("button")
        browser.press("#start-next", "Rotate the master key")
        browser.see("dialog .plan", self.before[:32])
        browser.press("dialog button", "Cancel")
