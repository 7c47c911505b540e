// One rotation: its time line by phase, its progress with rate and time left, who keeps it waiting,
// and how it ended. Phases come as events; numbers between two of them are asked for.

import { Problem, isEnded, isPassing, sleep } from "./api.js";
import { abortDialog, startDialog } from "./dialogs.js";
import * as dom from "./dom.js";
import {
  averageText,
  endBox,
  endText,
  factsSection,
  heading,
  holdBox,
  holdFacts,
  isHolding,
  keysText,
  pauseMs,
  phaseText,
  phasesSection,
  sentence,
  tone,
  waitingSection,
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
  #isBefore;
  #stop = new AbortController();
  #news = new AbortController();
  #parts = {};
  #marks = [];
  /** What was told when each phase began. */
  #told = new Map();
  #isLinked = true;

  /**
   * `name` is that of its instance; `isBefore` says that it was left behind and has to end before
   * the one that was asked for.
   */
  constructor(client, session, view, name, isBefore) {
    Object.assign(this, { title: `${heading(view)} in ${name}`, instance: view.instance });
    [this.#client, this.#session, this.#view, this.#name] = [client, session, view, name];
    this.#isBefore = isBefore && session.mayOperate;
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
          h("h1", {}, heading(this.#view), " ", part("phase", "span")),
          h("p", { class: "lead" }, h("code", {}, this.#view.rotation)),
        ),
        h("div", { class: "actions" }, abort),
      ),
      part("fault"),
      part("unsaved"),
      part("link"),
      part("end"),
      part("next"),
      part("hold"),
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
    // One that had ended, and was opened once more, tells of its earlier end too.
    const isStale = (event) => event.at < this.#view.started_at;
    const how = { signal, onLink, isStale };
    try {
      for await (const event of this.#client.events(this.#view.rotation, how)) this.#hear(event);
      if (!signal.aborted && !isEnded(this.#view)) await this.#look();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #hear({ rotation, text }) {
    if (!this.#told.has(rotation.phase)) this.#told.set(rotation.phase, text);
    this.#take(rotation);
    if (!isEnded(rotation)) dom.announce(sentence(text));
    this.#draw();
    this.#news.abort();
  }

  /** Events tell of phases only; the numbers of a long one are asked for. */
  async #ask() {
    const { signal } = this.#stop;
    while (!signal.aborted && !isEnded(this.#view)) {
      await this.#pause();
      if (signal.aborted || document.hidden || isEnded(this.#view)) continue;
      try {
        await this.#look();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Problem) || !isPassing(error)) return this.#fail(error);
        this.#isLinked = false;
        this.#draw();
      }
    }
  }

  /** Until the next question; an event may end a hold, and with it a long pause. */
  #pause() {
    this.#news = new AbortController();
    const either = AbortSignal.any([this.#stop.signal, this.#news.signal]);
    return sleep(pauseMs(this.#view, this.#client.now(), ASK_MS), either);
  }

  async #look() {
    const { signal } = this.#stop;
    const found = await this.#client.get(`rotations/${this.#view.rotation}`, { signal });
    this.#isLinked = true;
    this.#take(found);
    this.#draw();
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
      dom.show(this.#parts.unsaved, null, () => []);
    } catch (error) {
      if (!signal.aborted) this.#fail(error, "unsaved");
    }
  }

  /** What does not pass stands in a part of its own: nothing that is drawn later takes it away. */
  #fail(error, part = "fault") {
    if (!(error instanceof Problem)) throw error;
    dom.show(this.#parts[part], error.document, () => dom.problemBox(error.document));
  }

  /** Asks for the rotation that had to wait for this one's end. */
  async #startNext() {
    const started = await startDialog(this.#client, { name: this.#name });
    if (started) location.hash = `#/rotations/${started}`;
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
  }

  #draw() {
    const view = this.#view;
    const mayAbort =
      this.#session.mayOperate && !view.is_decided && !isEnded(view) && view.phase !== "aborting";
    this.#parts.abort.hidden = !mayAbort;
    dom.show(this.#parts.phase, view.phase, () => dom.chip(tone(view), view.phase));
    const isLost = !this.#isLinked && !isEnded(view);
    dom.show(this.#parts.link, isLost, () => (isLost ? lost() : []));
    this.#drawEnd();
    dom.show(this.#parts.hold, holdFacts(view), () => (isHolding(view) ? holdBox(view) : []));
    const waiting = isEnded(view) ? [] : view.waiting_for.filter((found) => this.#isLate(found));
    dom.show(this.#parts.waiting, waiting, () => (waiting.length ? waitingSection(waiting) : []));
    const { keys_done: _, units_done: __, waiting_for: ___, hold_until: ____, ...steady } = view;
    dom.show(this.#parts.phases, [view.phases, view.finished_at, [...this.#told]], () =>
      phasesSection(view, this.#told),
    );
    dom.show(this.#parts.facts, steady, () => factsSection(view, (event) => this.#save(event)));
    this.#drawProgress();
    this.#drawTimes();
  }

  #drawEnd() {
    const view = this.#view;
    const told = this.#told.get(view.phase);
    dom.show(this.#parts.end, [isEnded(view), told], () =>
      isEnded(view) ? endBox(view, told) : [],
    );
    const isNext = isEnded(view) && this.#isBefore;
    dom.show(this.#parts.next, isNext, () =>
      isNext ? nextBox(view, () => this.#startNext()) : [],
    );
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
    doing.textContent = sentence(this.#told.get(view.phase) ?? phaseText(view));
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
      " No key is lost: what runs goes on, or waits, without this page.",
    ),
  );
}

/** After one that was left behind: the one that was asked for, through its own plan. */
function nextBox(view, onStart) {
  const text =
    view.phase === "aborted"
      ? "What was left behind is ended. Now for the rotation that was asked for."
      : "What was left behind has gone through. Another rotation starts only if it is asked for once more.";
  const button = { class: "button main", type: "button", id: "start-next", onclick: onStart };
  return h(
    "div",
    { class: "notice info" },
    h("p", {}, text),
    h("button", button, "Rotate the master key"),
  );
}
