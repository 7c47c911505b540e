// One rotation: its time line by phase, its progress with rate and time left, who keeps it waiting,
// and how it ended. Phases come as events; numbers between two of them are asked for.

import { Problem, isEnded, sleep } from "./api.js";
import { abortDialog } from "./dialogs.js";
import * as dom from "./dom.js";
import {
  PHASES,
  averageText,
  endText,
  keysText,
  phasesSection,
  purpose,
  sentence,
  tone,
} from "./phases.js";

const { h } = dom;

/** Pause between two questions for numbers while keys are re-encrypted, in ms. */
const ASK_MS = 500;
/** Between two ticks of what still takes time, in ms. */
const TICK_MS = 250;
/** Who has not answered for so many ms is named. */
const WAITING_MS = 3_000;
/** The rate is that of the last so many ms. */
const WINDOW_MS = 5_000;

export class RotationPage {
  #client;
  #session;
  #view;
  #name;
  #stop = new AbortController();
  #parts = {};
  #marks = [];
  #isLinked = true;

  /** `name` is that of its instance. */
  constructor(client, session, view, name) {
    Object.assign(this, { title: `Rotation in ${name}`, instance: view.instance });
    [this.#client, this.#session, this.#view, this.#name] = [client, session, view, name];
  }

  /** Draws the page and follows the rotation until its end, or until `close`. */
  open(outlet) {
    const part = (name, tag = "div") => {
      this.#parts[name] = h(tag, { class: "part" });
      return this.#parts[name];
    };
    const abort = h(
      "button",
      {
        class: "button danger",
        type: "button",
        id: "abort",
        onclick: () => abortDialog(this.#client, this.#view),
      },
      "Abort",
    );
    this.#parts.abort = abort;
    outlet.replaceChildren(
      h(
        "p",
        { class: "back" },
        h("a", { href: `#/instances/${this.#view.instance}` }, `← ${this.#name}`),
      ),
      h(
        "div",
        { class: "page-top" },
        h(
          "div",
          {},
          h("h1", {}, "Master key rotation ", part("phase", "span")),
          h("p", { class: "lead" }, h("code", {}, this.#view.rotation)),
        ),
        h("div", { class: "actions" }, abort),
      ),
      part("link"),
      part("end"),
      this.#progress(),
      part("waiting"),
      part("phases"),
      part("facts"),
    );
    this.#draw();
    this.#follow();
    this.#ask();
    this.#tick();
  }

  close() {
    this.#stop.abort();
  }

  async #follow() {
    const { signal } = this.#stop;
    const onLink = (isLinked) => {
      this.#isLinked = isLinked;
      this.#draw();
    };
    try {
      for await (const event of this.#client.events(this.#view.rotation, { signal, onLink })) {
        this.#take(event.rotation);
        if (!isEnded(event.rotation)) dom.announce(sentence(event.text));
      }
      if (!signal.aborted && !isEnded(this.#view)) await this.#look();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  /** Events tell of phases only; the numbers of a long one are asked for. */
  async #ask() {
    const { signal } = this.#stop;
    while (!signal.aborted && !isEnded(this.#view)) {
      await sleep(ASK_MS, signal);
      if (signal.aborted || document.hidden || isEnded(this.#view)) continue;
      try {
        await this.#look();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Problem) || ![0, 503, 504].includes(error.status))
          return this.#fail(error);
        this.#isLinked = false;
        this.#draw();
      }
    }
  }

  async #look() {
    const { signal } = this.#stop;
    const found = await this.#client.get(`rotations/${this.#view.rotation}`, { signal });
    this.#isLinked = true;
    this.#take(found);
  }

  async #tick() {
    const { signal } = this.#stop;
    while (!signal.aborted && !isEnded(this.#view)) {
      await sleep(TICK_MS, signal);
      if (!signal.aborted) this.#drawTimes();
    }
  }

  /**
   * A link cannot carry the token, so the receipt is fetched first; then the same link, which leads
   * to what was fetched, is followed by itself.
   */
  async #save(event) {
    const link = event.currentTarget;
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    const { signal } = this.#stop;
    try {
      const receipt = await this.#client.file(`rotations/${this.#view.rotation}/receipt`, { signal });
      link.href = URL.createObjectURL(receipt);
      signal.addEventListener("abort", () => URL.revokeObjectURL(link.href), { once: true });
      link.click();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #fail(error) {
    if (!(error instanceof Problem)) throw error;
    dom.show(this.#parts.link, error.document, () => dom.problemBox(error.document));
  }

  /** An event that was told long ago, or an answer that was overtaken, takes nothing back. */
  #take(view) {
    const order = ({ phases, keys_done: keys }) => [phases.length, keys];
    const [[phases, keys], [shownPhases, shownKeys]] = [order(view), order(this.#view)];
    if (phases < shownPhases || (phases === shownPhases && keys < shownKeys)) return;
    if (isEnded(view) && !isEnded(this.#view)) dom.announce(endText(view));
    this.#view = view;
    this.#marks.push([performance.now(), view.keys_done]);
    while (this.#marks.length > 2 && this.#marks[0][0] < performance.now() - WINDOW_MS)
      this.#marks.shift();
    this.#draw();
  }

  #draw() {
    const view = this.#view;
    const mayAbort =
      this.#session.mayOperate && !view.is_decided && !isEnded(view) && view.phase !== "aborting";
    this.#parts.abort.hidden = !mayAbort;
    dom.show(this.#parts.phase, view.phase, () => dom.chip(tone(view), view.phase));
    const isLost = !this.#isLinked && !isEnded(view);
    dom.show(this.#parts.link, isLost, () => (isLost ? lost() : []));
    dom.show(this.#parts.end, isEnded(view), () => (isEnded(view) ? endBox(view) : []));
    const waiting = isEnded(view) ? [] : view.waiting_for.filter((found) => this.#isLate(found));
    dom.show(this.#parts.waiting, waiting, () => (waiting.length ? waitingSection(waiting) : []));
    const { keys_done: _, units_done: __, waiting_for: ___, ...steady } = view;
    dom.show(this.#parts.phases, [view.phases, view.finished_at], () => phasesSection(view));
    dom.show(this.#parts.facts, steady, () => factsSection(view, (event) => this.#save(event)));
    this.#drawProgress();
    this.#drawTimes();
  }

  /** Who has only just been asked is not waited for yet. */
  #isLate({ since, refusal }) {
    return refusal !== null || this.#client.now() - since > WAITING_MS;
  }

  #progress() {
    this.#bar = {
      bar: h("progress", { id: "keys-bar", "aria-label": "Keys re-encrypted", max: 1, value: 0 }),
      doing: h("p", { class: "doing" }),
      keys: h("span", { class: "keys" }),
      rate: h("span", { class: "rate" }),
      units: h("span", { class: "units" }),
    };
    const { bar, keys, rate, units, doing } = this.#bar;
    return h(
      "section",
      { class: "card progress", "aria-label": "Progress" },
      doing,
      bar,
      h("p", { class: "numbers" }, keys, rate, units),
    );
  }
  #bar;

  #drawProgress() {
    const { bar, doing, keys, rate, units } = this.#bar;
    const view = this.#view;
    bar.max = Math.max(view.keys_total, 1);
    bar.value = view.keys_total ? view.keys_done : Number(view.phase === "done");
    doing.textContent = sentence(PHASES.get(view.phase) ?? view.phase);
    keys.textContent = view.keys_total || isEnded(view) ? keysText(view) : "";
    units.textContent = `${view.units_done} of ${dom.counted(view.units_total, "crypto unit")} ${view.units_done === 1 ? "has" : "have"} done the phase`;
    rate.textContent =
      isEnded(view) || view.phase !== "reencrypt" ? averageText(view) : this.#rateText();
  }

  /** The rate of the last seconds, and what is left at it. */
  #rateText() {
    const [[from, before], [until, now]] = [this.#marks[0] ?? [0, 0], this.#marks.at(-1) ?? [0, 0]];
    const perSecond = until > from ? ((now - before) * 1000) / (until - from) : 0;
    if (perSecond <= 0) return "";
    const left = (this.#view.keys_total - this.#view.keys_done) / perSecond;
    return `${dom.count(Math.round(perSecond))} keys/s, about ${dom.count(Math.ceil(left))} s left`;
  }

  /** What still takes time goes on from the server's clock. */
  #drawTimes() {
    const now = this.#client.now();
    for (const element of document.querySelectorAll("[data-since]")) {
      element.textContent = dom.seconds(now - Number(element.dataset.since));
    }
  }
}

function lost() {
  return h(
    "div",
    { class: "notice warn", role: "status" },
    h(
      "p",
      {},
      h("strong", {}, "The coordinator does not answer; trying again."),
      " No key is lost: the rotation goes on, or waits, without this page.",
    ),
  );
}

function endBox(view) {
  const isDone = view.phase === "done";
  const more = isDone
    ? [
        "Pattern ",
        h("code", {}, dom.short(view.from)),
        " → ",
        h("code", {}, dom.short(view.to)),
        ".",
      ]
    : ["Nothing has changed: every key is under the same master key as before."];
  return h(
    "div",
    { class: `notice ${isDone ? "good" : "bad"}`, id: "end" },
    h("p", {}, h("strong", {}, endText(view)), " ", more),
  );
}

function waitingSection(waiting) {
  const rows = waiting.map(({ name, command, since, refusal }) => [
    name,
    command,
    h("span", { "data-since": since }),
    refusal ? refusal.text : "none",
  ]);
  return dom.section(
    "waiting",
    "Waiting for",
    "Asked, and not answered yet.",
    dom.table("Who has not answered", ["Name", "For", "Since", "Last refusal"], rows, {
      header: 0,
    }),
  );
}

/** The hash of the receipt, and a link that saves the receipt as a file. */
function receiptFact(view, onSave) {
  if (!view.receipt) return null;
  const link = h(
    "a",
    {
      id: "receipt",
      href: `#/rotations/${view.rotation}`,
      download: `receipt-${view.rotation}.json`,
      onclick: onSave,
    },
    "Download the receipt",
  );
  return h("span", {}, h("code", { class: "digest" }, view.receipt), " ", link);
}

function factsSection(view, onSave) {
  const decided = view.is_decided ? "yes: it only goes forward" : "no";
  return dom.section(
    "facts",
    "Details",
    null,
    dom.facts([
      ["Purpose", purpose(view)],
      ["Order", `number ${view.number.number} under manifest ${view.number.manifest_serial}`],
      ["Decided", decided],
      ["Started", dom.moment(view.started_at)],
      [
        isEnded(view) ? "Took" : "Running for",
        view.finished_at
          ? dom.took(view.finished_at - view.started_at)
          : h("span", { "data-since": view.started_at }),
      ],
      [
        "Key creation refused for",
        view.gate_closed_ms === null ? null : dom.milliseconds(view.gate_closed_ms),
      ],
      ["From pattern", dom.pattern(view.from)],
      ["To pattern", view.to ? dom.pattern(view.to) : "not known yet"],
      ["Aborted because", view.aborted_because],
      ["Receipt", receiptFact(view, onSave)],
      ["Trace id", view.trace_id ? h("code", { class: "digest" }, view.trace_id) : null],
    ]),
  );
}
