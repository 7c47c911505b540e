"""What all cases share: the cluster, a browser of their own, and that it complains of nothing."""

import os
import unittest
from pathlib import Path

from selenium.webdriver.common.by import By

from browser import Browser
from cluster import KEYS

#: Those that every rotation has.
PHASES = "inspect generate install commit reencrypt promote flip clear drop done".split()


class Case(unittest.TestCase):
    #: Set by `run.py`.
    cluster = None
    #: Statuses of answers that the case is about; Chromium calls each of them an error.
    refusals = ()
    #: Other complaints that it is about.
    complaints = ()

    def setUp(self):
        self.browser = Browser(self.cluster.server)
        self.addCleanup(self.browser.quit)

    def tearDown(self):
        folder = os.environ.get("KEYHELM_SCREENSHOTS")
        if folder:
            self.browser.driver.save_screenshot(str(Path(folder) / f"{self.id()}.png"))
        self.assertEqual(self.browser.complaints(self.refusals, self.complaints), [])

    def assert_accessible(self, *roles):
        """Everything that needs a name has one, these roles are there, and all can be read."""
        needy, unnamed = self.browser.unnamed()
        self.assertEqual(unnamed, [])
        for role in roles:
            self.assertIn(role, {role for role, _ in needy})
        for scheme in ("light", "dark"):
            self.browser.scheme(scheme)
            count, faint = self.browser.faint()
            self.assertGreater(count, 5)
            self.assertEqual(faint, [], scheme)

    def assert_fits(self):
        for width in (360, 390, 1280, 1400):
            self.browser.size(width)
            self.assertLessEqual(self.browser.overflow(), 0, f"at {width} px")
        self.browser.size(1280)

    def start_rotation(self):
        """Through the dialog; gives the id that the address names then."""
        self.browser.press("#rotate")
        self.browser.press("dialog button", "Rotate now")
        self.browser.see("h1", "Master key rotation")
        return self.browser.driver.current_url.rsplit("/", 1)[1]


class Watched(Case):
    """Signed in as a Manager."""

    def setUp(self):
        super().setUp()
        self.before = self.cluster.current()
        self.browser.sign_in(self.cluster.token())
        self.browser.see("#units")

    def phases(self):
        """Names on the time line with their classes: past, now, later."""
        script = """return [...document.querySelectorAll(".phases li")].map(
            (item) => [item.querySelector(".name").innerText, item.classList[0]])"""
        return self.browser.script(script)

    def see_done(self, rotation):
        """The end as the coordinator tells it."""
        browser = self.browser
        browser.see("h1 .chip", "done")
        view = self.cluster.get(f"rotations/{rotation}")
        took = (view["finished_at"] - view["started_at"]) // 10 / 100
        browser.see("#end", f"Master key rotated: {KEYS:,} keys, 0 failed, 5 of 5 crypto units")
        browser.see("#end", f"{took:.2f} s (key creation refused for")
        browser.see("#end", f"{view['from'][:8]}... → {view['to'][:8]}...")
        self.assertEqual(self.phases(), [[phase, "past"] for phase in PHASES])
        bar = browser.driver.find_element(By.ID, "keys-bar")
        self.assertEqual((bar.get_property("value"), bar.get_property("max")), (KEYS, KEYS))
        browser.see(".numbers", f"{KEYS:,} of {KEYS:,} keys")
        browser.see(".numbers", "keys/s")
        self.assertFalse(browser.has("#abort"))
        return view
