"""Before `auto-init`: what is missing is named, and nothing can be started."""

from case import Case


class BeforeFounding(Case):
    refusals = (409,)

    def test_an_instance_in_imprint_mode_says_what_mends_it(self):
        browser = self.browser
        browser.sign_in(self.cluster.token())
        browser.see("#units .chip", "imprint mode")
        browser.see("#unmet .command", "keyhelm auto-init")
        self.assertEqual(
            [row[1] for row in browser.rows("#units table")],
            ["op-1", "op-2", "op-3", "rec-1", "rec-2"],
        )
        browser.press("#rotate")
        browser.see("dialog .problem-title", "Conflict (409)")
        browser.see("dialog .problem .findings", "the instance has no manifest")
        browser.see("dialog .problem .mend", "keyhelm auto-init")
        self.assertNotIn("Rotate now", browser.text("dialog"))
        self.assert_accessible("dialog", "button")
        browser.press("dialog button", "Cancel")
        browser.gone("dialog")
        self.assertEqual(self.cluster.rotations(), [])
