// What changes something is asked for once more: a start after its plan has been seen, an abort with
// its reason.

import { Problem } from "./api.js";
import * as dom from "./dom.js";

const { h } = dom;

/** Longest reason of an abort, in characters; the server takes 500 bytes. */
const MAX_BECAUSE = 160;

/** Checks whether a rotation could start, shows what it would do, and starts it: gives its id. */
export function startDialog(client, instance) {
  const dialog = new Dialog("Rotate the master key");
  const { signal } = dialog;
  const check = async () => {
    dialog.say(h("p", { class: "busy", role: "status" }, "Checking all units and keystores..."));
    const asked = client.post(path(instance), { dry_run: true }, { signal });
    const { plan, warnings } = await asked.catch(again);
    const online = h("input", { type: "radio", name: "mode", value: "online" });
    const strict = h("input", { type: "radio", name: "mode", value: "strict", checked: true });
    const verify = h("input", { type: "checkbox" });
    dialog.say(
      planBox(plan),
      warnings.length ? dom.worthKnowing(warnings) : [],
      h(
        "fieldset",
        { role: "radiogroup" },
        h("legend", {}, "While keys are re-encrypted"),
        choice(strict, "Strict", "Keys are not created, rotated or used until it is over."),
        choice(online, "Online", "Everything is served."),
      ),
      choice(
        verify,
        "Verify every page",
        "A second crypto unit opens every page of keys before the decision.",
      ),
    );
    const request = { expect_current_pattern: plan.from, request_id: newId() };
    dialog.offer("Rotate now", "main", async () => {
      const mode = online.checked ? "online" : "strict";
      const asked = client.post(path(instance), { ...request, mode, verify_all: verify.checked });
      const started = await asked.catch(unlessLost);
      dialog.close(started.rotation.rotation);
    });
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
  const dialog = new Dialog("Abort the rotation?");
  const because = h("input", {
    type: "text",
    id: "because",
    maxlength: MAX_BECAUSE,
    required: true,
    autocomplete: "off",
    value: "by hand",
  });
  dialog.say(
    h(
      "p",
      {},
      "Before its decision nothing has changed then: every key stays under the master key that it is under now. The reason is shown to whoever follows the rotation.",
    ),
    h("label", { class: "field", for: "because" }, "Why"),
    because,
  );
  dialog.offer("Abort the rotation", "danger", async () => {
    await client.post(`rotations/${view.rotation}/abort`, { because: because.value.trim() });
    dialog.close(view.rotation);
  });
  return dialog.run();
}

const path = (instance) => `instances/${encodeURIComponent(instance.name)}/rotations`;

function planBox(plan) {
  return h(
    "div",
    { class: "plan" },
    h("h3", {}, "Plan"),
    dom.facts([
      ["Made in", `${plan.generator_name} (a recovery unit)`],
      ["Crypto units", `${dom.counted(plan.units, "crypto unit")} take part`],
      ["Keys", `${dom.counted(plan.key_versions, "key version")} to be re-encrypted`],
      ["From pattern", dom.pattern(plan.from)],
    ]),
  );
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
    this.#dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title", tabindex: "-1" }, title),
      form,
    );
  }

  say(...content) {
    this.#body.replaceChildren(...content.flat(Infinity));
  }

  /** The button that does it; whatever is refused is shown, and may be tried again. */
  offer(text, kind, act) {
    this.#act = act;
    this.#go = h("button", { class: `button ${kind}`, type: "submit" }, text);
    this.#buttons.replaceChildren(this.#cancel, this.#go);
    if (this.#dialog.open) this.#go.focus();
  }

  /** Opens; resolves to what `close` was given, or to nothing. `first` runs as soon as it is open. */
  run(first) {
    document.body.append(this.#dialog);
    const opener = document.activeElement;
    const ended = new Promise((resolve) => {
      this.#dialog.addEventListener("close", () => {
        this.#stop.abort();
        this.#dialog.remove();
        opener?.focus();
        resolve(this.#dialog.returnValue || null);
      });
    });
    this.#dialog.showModal();
    document.getElementById("dialog-title").focus();
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
