// What changes something is asked for once more: a start after its plan has been seen, an abort with
// its reason.

import { Problem } from "./api.js";
import * as dom from "./dom.js";
import { noun } from "./phases.js";

const { h } = dom;

/** Longest reason of an abort, in characters; the server takes 500 bytes. */
const MAX_BECAUSE = 160;

/** The dialog that is open, if one is. */
let open = null;

/** For whoever takes away the page that it is about. */
export function closeDialog() {
  open?.close("");
}

/**
 * Checks whether a rotation could start, shows what it would do, and starts it: gives the place of
 * the one to follow, its id first.
 */
export function startDialog(client, instance) {
  const dialog = new Dialog(`Rotate the master key of ${instance.name}`);
  const { signal } = dialog;
  const check = async () => {
    dialog.say(h("p", { class: "busy", role: "status" }, "Checking all units and keystores..."));
    const asked = client.post(path(instance), { dry_run: true }, { signal });
    const checked = await asked.catch(again);
    const { plan, warnings } = checked;
    // There is no plan while another one runs: it is named instead.
    if (!plan) return follow(checked, []);
    const choices = new Choices();
    dialog.say(
      planBox(plan),
      warnings.length ? dom.worthKnowing(warnings) : [],
      choices.elements(),
    );
    const request = { expect_current_pattern: plan.from, request_id: newId() };
    dialog.offer("Rotate now", "main", async () => {
      const asked = client.post(path(instance), { ...request, ...choices.chosen() });
      follow(await asked.catch(unlessLost), warnings);
    });
  };
  const follow = (started, known) => {
    const go = () => dialog.close(placeOf(started));
    const news = newsOf(started, known);
    if (!news) return go();
    dialog.say(news);
    dialog.offer("Follow it", "main", go, "Close");
  };
  const again = (problem) => {
    dialog.say();
    dialog.offer("Check again", "main", check);
    throw problem;
  };
  // After a refusal the plan is not true any longer; after a lost answer the same may be asked again.
  const unlessLost = (problem) => {
    if (problem.status === 409) again(problem);
    throw problem;
  };
  return dialog.run(check);
}

/** Ends a rotation before its decision: whoever follows it hears how that went. */
export function abortDialog(client, view) {
  const name = noun(view);
  const dialog = new Dialog(`Abort the ${name}?`);
  const because = h("input", {
    type: "text",
    id: "because",
    maxlength: MAX_BECAUSE,
    required: true,
    autocomplete: "off",
    value: "by hand",
  });
  const safe =
    name === "recovery"
      ? "It is ended in both units then; a recovery changes no key."
      : "Before its decision nothing has changed then: every key stays under the master key that it is under now.";
  dialog.say(
    h("p", {}, `${safe} The reason is shown to whoever follows the ${name}.`),
    h("label", { class: "field", for: "because" }, "Why"),
    because,
  );
  dialog.offer(`Abort the ${name}`, "danger", async () => {
    await client.post(`rotations/${view.rotation}/abort`, { because: because.value.trim() });
    dialog.close(view.rotation);
  });
  return dialog.run();
}

const isTakenUp = ({ warnings }) => warnings.some(({ code }) => code === "taken-up");

/** After what was left behind, its page offers the start once more. */
const placeOf = (started) =>
  started.rotation.rotation + (isTakenUp(started) ? "/then-start" : "");

/** What has to be read before it is followed: that it is another one, or what the plan did not say. */
function newsOf(started, known) {
  const before = new Set(known.map((found) => JSON.stringify(found)));
  const news = started.warnings.filter((found) => !before.has(JSON.stringify(found)));
  if (!started.joined && news.length === 0) return null;
  const [title, text] = newsText(started);
  return [
    h("h3", { tabindex: "-1" }, title),
    h("p", {}, text),
    news.length ? dom.findings(news, "Worth knowing") : [],
  ];
}

function newsText(started) {
  if (isTakenUp(started))
    return [
      "Another one comes first",
      "A rotation was left behind by whoever drove it, and is brought to its end first. Yours has not started: it is offered again at that end.",
    ];
  if (started.joined)
    return [
      "Nothing new was started",
      `Another ${noun(started.rotation)} was running already: it is this one that is followed, as whoever started it has asked for it.`,
    ];
  return ["The rotation has started", "This was not known yet when its plan was made."];
}

const path = (instance) => `instances/${encodeURIComponent(instance.name)}/rotations`;

function planBox(plan) {
  return h(
    "div",
    { class: "plan" },
    h("h3", { tabindex: "-1" }, "Plan"),
    dom.facts([
      ["Made in", `${plan.generator_name} (a recovery unit)`],
      ["Crypto units", `${dom.counted(plan.units, "crypto unit")} take part`],
      ["Keys", `${dom.counted(plan.key_versions, "key version")} to be re-encrypted`],
      ["From pattern", dom.pattern(plan.from)],
    ]),
  );
}

/** How it shall be done. */
class Choices {
  #online = h("input", { type: "radio", name: "mode", value: "online" });
  #strict = h("input", { type: "radio", name: "mode", value: "strict", checked: true });
  #verify = h("input", { type: "checkbox" });

  elements() {
    return [
      h(
        "fieldset",
        { role: "radiogroup" },
        h("legend", {}, "While keys are re-encrypted"),
        choice(this.#strict, "Strict", "Keys are not created, rotated or used until it is over."),
        choice(this.#online, "Online", "Everything is served."),
      ),
      choice(
        this.#verify,
        "Verify every page",
        "A second crypto unit opens every page of keys before the decision.",
      ),
    ];
  }

  chosen() {
    return { mode: this.#online.checked ? "online" : "strict", verify_all: this.#verify.checked };
  }
}

function choice(input, name, text) {
  return h(
    "label",
    { class: "choice" },
    input,
    h("span", {}, h("strong", {}, name), h("span", {}, text)),
  );
}

/** Repeats of one request, after a lost answer, start one rotation. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A modal dialog: what it is about, what came instead, and two buttons. */
class Dialog {
  #dialog;
  #title;
  #body = h("div", { class: "dialog-body" });
  #fault = h("div");
  #cancel = h(
    "button",
    { class: "button quiet", type: "button", onclick: () => this.close("") },
    "Cancel",
  );
  #go = null;
  #act = null;
  #buttons;
  #stop = new AbortController();
  signal = this.#stop.signal;

  constructor(title) {
    this.#buttons = h("div", { class: "dialog-buttons" }, this.#cancel);
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: (event) => {
          event.preventDefault();
          this.#press();
        },
      },
      this.#body,
      this.#fault,
      this.#buttons,
    );
    this.#title = h("h2", { id: "dialog-title", tabindex: "-1" }, title);
    this.#dialog = h("dialog", { "aria-labelledby": "dialog-title" }, this.#title, form);
  }

  /** Begins at its heading: a key that was pressed twice confirms nothing that is unread. */
  say(...content) {
    this.#body.replaceChildren(...content.flat(Infinity));
    if (this.#dialog.open) (this.#body.querySelector("h3") ?? this.#title).focus();
  }

  /** The button that does it; whatever is refused is shown, and may be tried again. */
  offer(text, kind, act, cancel = "Cancel") {
    this.#act = act;
    this.#go = h("button", { class: `button ${kind}`, type: "submit" }, text);
    this.#cancel.textContent = cancel;
    this.#buttons.replaceChildren(this.#cancel, this.#go);
  }

  /** Opens; resolves to what `close` was given, or to nothing. `first` runs as soon as it is open. */
  run(first) {
    closeDialog();
    open = this;
    document.body.append(this.#dialog);
    const opener = document.activeElement;
    const ended = new Promise((resolve) => {
      this.#dialog.addEventListener("close", () => {
        if (open === this) open = null;
        this.#stop.abort();
        this.#dialog.remove();
        opener?.focus();
        resolve(this.#dialog.returnValue || null);
      });
    });
    this.#dialog.showModal();
    this.#title.focus();
    if (first) {
      this.#act = first;
      this.#press();
    }
    return ended;
  }

  close(value) {
    this.#dialog.close(value);
  }

  async #press() {
    const pressed = this.#go;
    if (pressed) pressed.disabled = true;
    this.#dialog.setAttribute("aria-busy", "true");
    await this.#guard(this.#act);
    this.#dialog.removeAttribute("aria-busy");
    if (pressed) pressed.disabled = false;
  }

  async #guard(act) {
    this.#fault.replaceChildren();
    try {
      await act();
    } catch (error) {
      if (this.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.#fault.replaceChildren(dom.problemBox(error.document));
      this.#fault.scrollIntoView({ block: "nearest" });
    }
  }
}
