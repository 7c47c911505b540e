"""Tokens: right ones, wrong ones, those that end, and where they are kept."""

import time

from selenium.webdriver.common.keys import Keys

from case import Case
from cluster import INSTANCE, wait_for

KEPT = """return [sessionStorage.length, localStorage.length, document.cookie, location.href,
    [...document.querySelectorAll("input")].map((input) => input.value).join("")]"""


class SignIn(Case):
    def test_the_token_lives_in_the_page_alone_and_is_forgotten_with_it(self):
        browser, token = self.browser, self.cluster.token()
        browser.sign_in(token)
        browser.see("h1", INSTANCE)
        browser.see("#who", "alice")
        browser.see("#who", "Manager")
        session, local, cookie, address, typed = browser.script(KEPT)
        self.assertEqual((session, local, cookie, typed), (0, 0, "", ""))
        self.assertNotIn(token, address)
        self.forgotten(browser.driver.refresh)
        self.forgotten(lambda: browser.press("#sign-out"))
        self.forgotten(self.leave_and_come_back)

    def forgotten(self, leave):
        """After this nobody is signed in; the same token is good again."""
        browser = self.browser
        leave()
        browser.see("#token")
        session, local, cookie, _, typed = browser.script(KEPT)
        self.assertEqual((session, local, cookie, typed), (0, 0, "", ""))
        self.assertFalse(browser.has("#session"))
        browser.type_token(self.cluster.token())
        browser.see("#units")

    def leave_and_come_back(self):
        self.browser.driver.get("about:blank")
        self.browser.driver.back()

    def test_another_tab_is_not_signed_in(self):
        self.browser.sign_in(self.cluster.token())
        self.browser.see("#units")
        self.browser.driver.switch_to.new_window("tab")
        self.browser.open()
        self.browser.see("#token")

    def test_the_page_is_accessible_and_fits(self):
        self.browser.open()
        self.browser.press("summary", "Where do I get one?")
        self.assert_accessible("textbox", "button", "heading")
        self.assert_fits()

    def test_a_keyboard_is_enough(self):
        browser = self.browser
        browser.open()
        browser.see("#token")
        self.assertEqual(browser.active().get_attribute("id"), "token")
        browser.active().send_keys(self.cluster.token(), Keys.ENTER)
        browser.see("#units")
        browser.see("#rotate")
        stops = []
        while not stops or stops[-1] != "rotate":
            browser.tab()
            stops.append(browser.active().get_attribute("id") or browser.active().text)
            self.assertLess(len(stops), 10, stops)
        browser.active().send_keys(Keys.ENTER)
        browser.see("dialog button", "Rotate now")
        inside = "return document.activeElement.closest('dialog') !== null"
        self.assertTrue(browser.script(inside))
        browser.active().send_keys(Keys.ESCAPE)
        browser.gone("dialog")
        self.assertEqual(browser.active().get_attribute("id"), "rotate")


class Refused(Case):
    refusals = (401, 403)

    def refused(self, token, title, detail, following):
        """Typed in, it is refused with this, and not kept."""
        self.browser.sign_in(token)
        self.browser.see(".problem-title", title)
        self.browser.see(".problem", detail)
        self.browser.see(".problem .command", following)
        self.assertEqual(self.browser.script("return sessionStorage.length"), 0)
        self.assertFalse(self.browser.has("#session"))

    def test_a_token_that_is_none(self):
        self.refused("abc", "Unauthorized (401)", "The token is not valid", "keyhelm token issue")
        self.assert_accessible("textbox", "button")

    def test_a_token_with_characters_that_none_has_is_sent_to_nobody(self):
        detail = "The token has characters that no token has"
        self.refused("a token – or two", "No token", detail, "keyhelm token issue")
        self.assertEqual(self.browser.requests("/v1/"), [])

    def test_a_token_that_somebody_else_signed(self):
        foreign = self.cluster.folder / "foreign.pem"
        self.cluster.run("token", "make-key", str(foreign))
        token = self.cluster.token(key=foreign)
        self.refused(
            token, "Unauthorized (401)", "which the key set does not have", "keyhelm token issue"
        )

    def test_a_token_that_was_changed(self):
        head, claims, signature = self.cluster.token("Reader").split(".")
        other = self.cluster.token("Manager").split(".")[1]
        self.assertNotEqual(claims, other)
        self.refused(
            ".".join([head, other, signature]),
            "Unauthorized (401)",
            "The token is not valid",
            "keyhelm token issue",
        )

    def test_a_token_whose_role_shows_nothing(self):
        detail = "alice has none of the roles that may do this"
        following = "keyhelm token issue --role Reader"
        self.refused(self.cluster.token("KeyPurge"), "Forbidden (403)", detail, following)

    def test_a_token_that_has_ended(self):
        token, ends = self.cluster.token(valid_for="1s"), time.time() + 1
        wait_for("end of the token", lambda: time.time() > ends)
        self.refused(token, "Unauthorized (401)", "The token has expired", "keyhelm token issue")

    def test_a_token_that_ends_meanwhile(self):
        self.browser.sign_in(self.cluster.token(valid_for="4s"))
        self.browser.see("#units")
        self.browser.see(".problem", "The token has expired")
        self.assertEqual(self.browser.script("return sessionStorage.length"), 0)
        self.browser.type_token(self.cluster.token())
        self.browser.see("#units")


class Narrow(Case):
    def test_a_reader_sees_rotations_and_is_offered_nothing_else(self):
        browser = self.browser
        browser.sign_in(self.cluster.token("Reader"))
        browser.see("#units", "With the role Reader this token shows rotations.")
        browser.see("#units .command", "keyhelm token issue --role Manager")
        browser.see("#rotations table")
        self.assertEqual(browser.all("#rotate, #registers, #keystores"), [])
        self.assert_accessible("table", "link")
        browser.all("#rotations a")[-1].click()
        browser.see("#end", "Initialised: a random master key in 5 crypto units")
        self.assertFalse(browser.has("#abort"))

    def test_a_token_of_another_instance_shows_none(self):
        self.browser.sign_in(self.cluster.token(instances="another"))
        self.browser.see("h1", "No instance")
        self.browser.see("main .command", "keyhelm instances")


class Unknown(Case):
    refusals = (404, 400)

    def test_an_address_that_names_nothing_says_so(self):
        browser = self.browser
        browser.sign_in(self.cluster.token())
        browser.see("#units")
        for place, title in (
            ("#/rotations/01a2108b-0000-7000-8000-000000000000", "Not Found (404)"),
            ("#/rotations/no-id", "Bad Request (400)"),
            ("#/instances/nowhere", "Not Found (404)"),
            ("#/instances/%zz", "Not Found (404)"),
        ):
            browser.script("location.hash = arguments[0]", place)
            browser.see(".problem-title", title)
            browser.press("main a", "Back")
            browser.see("h1", INSTANCE)
