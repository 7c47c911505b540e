// Signing in and out, and which page is shown. The token lives in this page's memory alone: what a
// browser stores for a tab it copies when the tab is duplicated, and brings back when it is reopened.
// It is sent to nobody but the coordinator that gave this page.

import { Client, Problem } from "./api.js";
import { closeDialog } from "./dialogs.js";
import * as dom from "./dom.js";
import { InstancePage } from "./instance.js";
import { RotationPage } from "./rotation.js";

const { h } = dom;
/** What a token is made of (RFC 6750, section 2.1); a header takes nothing else. */
const TOKEN = /^[\w.~+\/=-]+$/;
const OPERATE = ["Manager", "CryptoUnitAdministrator"];

const main = document.getElementById("main");
const part = (id) => document.getElementById(id);
let client = null;
let session = null;
let instances = [];
let page = null;
let turn = 0;

/** What the token says of itself. The server alone judges it; this only decides what is offered. */
function claims(token) {
  try {
    const text = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

async function signIn(token) {
  if (!TOKEN.test(token)) throw noToken();
  const own = turn;
  const tried = new Client(token);
  const found = await tried.get("instances");
  if (own !== turn) return;
  const { sub = "unnamed", roles = [], exp } = claims(token);
  // A late answer to somebody who has signed out signs out nobody else.
  tried.onUnauthenticated = (problem) => {
    if (client === tried) signOut(problem.document);
  };
  [client, instances] = [tried, found];
  session = { roles, mayOperate: roles.some((role) => OPERATE.includes(role)) };
  const until = exp ? h("span", { class: "until" }, "until ", dom.moment(exp * 1000)) : null;
  part("who").replaceChildren(
    h("strong", {}, sub),
    h("span", {}, roles.join(", ") || "no role", " ", until),
  );
  part("session").hidden = false;
  listInstances();
  await route();
}

function noToken() {
  return new Problem({
    title: "No token",
    status: 0,
    code: "no-token",
    detail: "The token has characters that no token has: something else was copied, or more than a token.",
    safe: "It was sent to nobody.",
    next_command: "keyhelm token issue",
  });
}

function signOut(problem = null) {
  turn += 1;
  closeDialog();
  page?.close();
  [client, session, page, instances] = [null, null, null, []];
  part("session").hidden = true;
  part("who").replaceChildren();
  showSignIn(problem);
}

function listInstances() {
  part("chooser").hidden = instances.length < 2;
  part("instances").replaceChildren(
    ...instances.map(({ id, name }) => h("option", { value: id }, name)),
  );
}

/** A paste box, no password box: a browser would offer to keep the token. */
function showSignIn(problem) {
  document.title = "Sign in · keyhelm";
  const token = h("input", {
    type: "text",
    id: "token",
    class: "token",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
  });
  const fault = h("div", {}, problem ? dom.problemBox(problem) : []);
  const button = h("button", { class: "button main", type: "submit" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    fault.replaceChildren();
    try {
      await signIn(token.value.trim());
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      fault.replaceChildren(dom.problemBox(error.document));
      token.focus();
    } finally {
      button.disabled = false;
    }
  };
  main.replaceChildren(
    h(
      "section",
      { class: "card sign-in", "aria-labelledby": "sign-in-title" },
      h("h1", { id: "sign-in-title" }, "Sign in"),
      h(
        "p",
        { class: "lead" },
        "With a token of yours. It stays in the memory of this page, and is forgotten when you sign out, reload the page or leave it.",
      ),
      h(
        "form",
        { onsubmit: submit },
        h("label", { class: "field", for: "token" }, "Token"),
        token,
        fault,
        button,
      ),
      h(
        "details",
        {},
        h("summary", {}, "Where do I get one?"),
        h(
          "p",
          {},
          "Whoever holds the issuer's key issues it, with the role that you need: Reader to see rotations, Manager or CryptoUnitAdministrator to see crypto units, start and abort.",
        ),
        h(
          "p",
          {},
          h(
            "code",
            { class: "command" },
            "keyhelm token issue --key issuer.pem --subject alice --role Manager --instances '*'",
          ),
        ),
        h(
          "p",
          {},
          h("code", {}, "keyhelm dev --data DIR"),
          " writes one of its own to ",
          h("code", {}, "DIR/token"),
          ".",
        ),
      ),
    ),
  );
  token.focus();
}

/** The page that the address names; an address that names none is that of the first instance. */
async function route() {
  if (!client) return;
  turn += 1;
  const own = turn;
  closeDialog();
  page?.close();
  page = null;
  const [, kind, name, then] = location.hash.split("/").map(decoded);
  try {
    const found = await (kind === "rotations" ? rotationPage(name, then) : instancePage(name));
    if (own !== turn) return;
    page = found;
  } catch (error) {
    if (own !== turn || !client) return;
    if (!(error instanceof Problem)) throw error;
    main.replaceChildren(
      h("p", { class: "back" }, h("a", { href: "#/" }, "← Back")),
      dom.problemBox(error.document),
    );
    return;
  }
  if (!page) return showNothing();
  document.title = `${page.title} · keyhelm`;
  part("instances").value = page.instance ?? "";
  page.open(main);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** What people write into an address need not be an address. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function rotationPage(id, then) {
  const view = await client.get(`rotations/${encodeURIComponent(id)}`);
  const instance = instances.find((found) => found.id === view.instance);
  const isBefore = then === "then-start";
  return new RotationPage(client, session, view, instance?.name ?? view.instance, isBefore);
}

async function instancePage(name) {
  instances = await client.get("instances");
  listInstances();
  const found = name
    ? instances.find((instance) => instance.id === name || instance.name === name)
    : instances[0];
  if (found || !name) return found && new InstancePage(client, session, found);
  throw new Problem({
    title: "Not Found",
    status: 404,
    detail: `There is no instance ${name}, or this token is not for it.`,
    safe: "Nothing has changed.",
    next_command: "keyhelm instances",
  });
}

function showNothing() {
  main.replaceChildren(
    h(
      "section",
      { class: "card", "aria-labelledby": "none-title" },
      h("h1", { id: "none-title" }, "No instance"),
      h(
        "p",
        {},
        "No process of an instance that this token is for has announced itself: its units are not started, or the token is for others.",
      ),
      h("p", {}, "Next: ", dom.mend("keyhelm instances")),
    ),
  );
}

part("sign-out").addEventListener("click", () => signOut());
part("instances").addEventListener("change", (event) => {
  location.hash = `#/instances/${event.target.value}`;
});
// Its address would be that of another page here, so it is no link to follow.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
// A browser may keep a page that was left, as it stands, for whoever comes back.
addEventListener("pagehide", () => signOut());

showSignIn(null);
