"""Rotations: started, watched, proved, lost sight of, aborted, refused."""

import json
import re
import tempfile
import time
from pathlib import Path

from case import PHASES, Case, Watched
from cluster import INSTANCE, KEYS, wait_for

#: A moment as the command line writes it, and as the console does.
MOMENT = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| UTC)"
#: In a hold questions are far apart: who asks as often as else is caught in so many seconds.
WATCHED_S = 4


class Rotation(Watched):
    def test_one_is_started_through_its_plan_and_seen_to_its_end(self):
        browser = self.browser
        browser.press("#rotate")
        plan = browser.see("dialog .plan", "Made in").text
        self.assertRegex(plan, r"rec-\d \(a recovery unit\)")
        keys = f"{KEYS:,} key versions to be re-encrypted"
        for part in ("5 crypto units take part", keys, self.before[:32], self.before[32:]):
            self.assertIn(part, plan)
        browser.see("dialog .worth", "5 things worth knowing")
        self.assertEqual(self.cluster.current(), self.before)
        browser.press("dialog button", "Rotate now")
        browser.see("h1", "Master key rotation")
        rotation = browser.driver.current_url.rsplit("/", 1)[1]
        view = self.see_done(rotation)
        self.assertEqual((view["from"], view["to"]), (self.before, self.cluster.current()))
        self.assert_accessible("progressbar", "link", "heading")
        self.assert_fits()
        browser.press(".back a", INSTANCE)
        browser.see("#registers", self.cluster.current()[:32])

    def test_the_receipt_of_one_that_has_ended_is_saved_as_a_file(self):
        browser = self.browser
        folder = self.enterContext(tempfile.TemporaryDirectory())
        allow = {"behavior": "allow", "downloadPath": folder}
        browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", allow)
        with self.cluster.held() as hold:
            rotation = self.start_rotation()
            browser.see(".phases .now", "reencrypt")
            self.assertFalse(browser.has("#receipt"))
            hold.release()
            view = self.see_done(rotation)
        browser.see("#facts", view["receipt"])
        browser.press("#receipt", "Download the receipt")
        path = Path(folder) / f"receipt-{rotation}.json"
        wait_for("the file", path.exists)
        self.assertEqual(
            json.loads(path.read_text()), self.cluster.get(f"rotations/{rotation}/receipt")
        )
        self.assert_accessible("link")
        self.assert_fits()

    def test_phases_come_live(self):
        browser = self.browser
        with self.cluster.held() as hold:
            rotation = self.start_rotation()
            browser.see(".doing", "Re-encrypting the key storage.")
            wanted = [[phase, "past"] for phase in PHASES[:4]] + [["reencrypt", "now"]]
            wanted += [[phase, "later"] for phase in PHASES[5:]]
            self.assertEqual(self.phases(), wanted)
            browser.see("#waiting", "reencryptor")
            self.assertTrue(browser.has("#abort"))
            self.assert_accessible("progressbar", "table", "button")
            self.assert_fits()
            browser.press(".back a", INSTANCE)
            browser.see("#registers .chip", "Full Committed")
            browser.see("#units .chip", "bound to a rotation")
            browser.see(".tiles", "Rotating now")
            self.assertFalse(browser.has("#rotate"))
            browser.press("#watch")
            browser.see(".phases .now", "reencrypt")
            hold.release()
            self.see_done(rotation)
        self.assertIn("Master key rotated", browser.text("#announcer"))

    def test_one_is_aborted_with_its_reason_and_nothing_has_changed(self):
        browser = self.browser
        with self.cluster.held() as hold:
            rotation = self.start_rotation()
            browser.see(".phases .now", "reencrypt")
            browser.press("#abort")
            reason = browser.see("dialog #because")
            reason.clear()
            reason.send_keys("the backup <b>first</b>")
            self.assert_accessible("dialog", "textbox")
            browser.press("dialog button", "Abort the rotation")
            browser.see("h1 .chip", "abort")
            self.assertFalse(browser.has("#abort"))
            hold.release()
        browser.see("#end", "Aborted: the backup <b>first</b>. Nothing has changed")
        self.assertEqual(self.phases()[-2:], [["aborting", "past"], ["aborted", "past"]])
        self.cluster.await_phase(rotation, "aborted")
        self.assertEqual(self.cluster.current(), self.before)
        self.assert_accessible("progressbar")

    def test_a_reader_follows_and_is_not_offered_the_abort(self):
        browser = self.browser
        with self.cluster.held() as hold:
            rotation = self.start_rotation()
            browser.see("#abort")
            browser.press("#sign-out")
            browser.type_token(self.cluster.token("Reader"))
            browser.see(".phases .now", "reencrypt")
            self.assertFalse(browser.has("#abort"))
            hold.release()
            self.see_done(rotation)


    def test_the_skip_link_stays_on_the_page(self):
        browser = self.browser
        rotation = self.cluster.rotations()[-1]["rotation"]
        browser.script("location.hash = arguments[0]", f"#/rotations/{rotation}")
        browser.see("#end")
        browser.script("document.querySelector('.skip').focus()")
        browser.enter()
        wait_for("the focus", lambda: browser.active().get_attribute("id") == "main")
        self.assertTrue(browser.driver.current_url.endswith(f"#/rotations/{rotation}"))
        browser.see("#end")

    def test_no_proxy_may_collect_the_events(self):
        rotation = self.cluster.rotations()[-1]["rotation"]
        with self.cluster.ask(f"rotations/{rotation}/events") as answer:
            self.assertEqual(answer.headers["x-accel-buffering"], "no")


class Holding(Watched):
    def asked(self, part):
        """How often something was asked for in a while."""
        self.browser.requests("")
        time.sleep(WATCHED_S)
        return len(self.browser.requests(part))

    def test_a_hold_is_told_as_the_command_line_tells_it_and_asked_about_seldom(self):
        browser = self.browser
        with self.cluster.holding() as (rotation, told):
            shown = browser.see(".notice", "A rotation holds, as its order says.").text
            words = re.search(r"Master key rotated and in use: .*", told).group()
            self.assertIn(re.sub(MOMENT, "", words), re.sub(MOMENT, "", shown))
            browser.see(".notice .command", f"keyhelm hold-end {rotation}")
            browser.see(".tiles", "Holding")
            # Once around at most: what runs, the list, the units, the manifest.
            self.assertLessEqual(self.asked("/v1/instances"), 5)
            browser.press("#watch")
            browser.see(".phases .now", "hold-before-clear")
            browser.see(".doing", "Holding: the old master key is kept for a time.")
            hold = browser.see("#hold", "The hold lasts until").text
            self.assertIn(f"keyhelm hold-end {rotation}", hold)
            self.assertFalse(browser.has("#abort"))
            self.assertLessEqual(self.asked(f"/v1/rotations/{rotation}"), 1)
            self.assert_accessible("progressbar", "link")
            self.assert_fits()
        browser.see("#end", f"Master key rotated: {KEYS:,} keys, 0 failed")
        self.assertFalse(browser.has("#hold"))
        wanted = [*PHASES[:7], "hold-before-clear", *PHASES[7:]]
        self.assertEqual(self.phases(), [[phase, "past"] for phase in wanted])


class Refused(Watched):
    refusals = (409,)

    def test_an_abort_that_comes_too_late_is_refused_in_words(self):
        browser = self.browser
        with self.cluster.held() as hold:
            rotation = self.start_rotation()
            browser.press("#abort")
            browser.see("dialog #because")
            hold.release()
            self.cluster.await_phase(rotation, "done")
        browser.press("dialog button", "Abort the rotation")
        browser.see("dialog .problem-title", "Conflict (409)")
        browser.see("dialog .problem", f"Rotation {rotation} has ended: there is nothing to abort.")
        browser.see("dialog .problem .command", f"keyhelm rotations {rotation}")
        browser.press("dialog button", "Cancel")
        self.see_done(rotation)

    def test_a_start_whose_plan_was_overtaken_says_which_condition_is_not_met(self):
        browser = self.browser
        browser.press("#rotate")
        browser.see("dialog .plan", self.before[:32])
        self.cluster.run("auto-mk-rotate", "--yes")
        count, now = len(self.cluster.rotations()), self.cluster.current()
        browser.press("dialog button", "Rotate now")
        browser.see("dialog .problem-title", "Conflict (409)")
        browser.see("dialog .problem", "1 condition is not met")
        browser.see("dialog .findings", now)
        browser.see("dialog .findings .mend", "Mend: ")
        self.assert_accessible("dialog")
        self.assertEqual(len(self.cluster.rotations()), count)
        self.assertEqual(self.cluster.current(), now)
        self.assertFalse(browser.has("dialog .plan"))
        browser.press("dialog button", "Check again")
        browser.see("dialog .plan", now[:32])
        self.assertFalse(browser.has("dialog .problem"))
        browser.press("dialog button", "Cancel")


class Lost(Case):
    complaints = ("net::ERR_", "status of 503")

    def test_a_coordinator_that_goes_and_comes_back_is_followed_again_without_a_gap(self):
        browser = self.browser
        browser.sign_in(self.cluster.token())
        browser.see("#units")
        with self.cluster.held():
            rotation = self.start_rotation()
            browser.see(".phases .now", "reencrypt")
            self.cluster.kill()
            browser.see(".notice", "The coordinator does not answer; trying again.")
            browser.see(".notice", "No key is lost")
        self.cluster.start()
        view = self.cluster.await_phase(rotation, "done")
        browser.see("#end", "Master key rotated")
        wait_for("no notice", lambda: "does not answer" not in browser.text("main"))
        shown = [name.text for name in browser.all(".phases li .name")]
        self.assertEqual(shown, [phase for phase, _ in view["phases"]])
        streams = browser.requests("/events")
        self.assertNotIn("last-event-id", streams[0])
        self.assertIn("last-event-id", streams[-1])
