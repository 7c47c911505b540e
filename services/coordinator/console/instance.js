// An instance: its crypto units and their registers, its key storage, what administrators have
// signed, what keeps a rotation from starting, and its rotations.

import { Problem, sleep } from "./api.js";
import { startDialog } from "./dialogs.js";
import * as dom from "./dom.js";
import { holdFacts, holdText, isHolding, noun, pauseMs, rotationsSection } from "./phases.js";
import {
  keystoresSection,
  ordersSection,
  registersSection,
  summary,
  unitFacts,
  unitsSection,
} from "./units.js";

const { h } = dom;

/** Pause between two looks at whether a rotation runs; it asks no unit. In ms. */
const LOOK_MS = 2_000;
/** Units are asked anew after so long, in ms: at each look while a rotation runs. */
const SURVEY_MS = 15_000;
/** Rotations in the list. */
const LISTED = 20;

/** The parts of the page, in the order in which they stand. */
const PARTS = [
  "trouble",
  "running",
  "summary",
  "unmet",
  "warnings",
  "units",
  "registers",
  "keystores",
  "orders",
  "rotations",
];
/** What is asked for, and the parts that show it. */
const SHOWN_IN = {
  instances: ["running"],
  rotations: ["rotations"],
  compare: ["summary", "unmet", "warnings", "units", "registers", "keystores"],
  manifest: ["orders"],
};

export class InstancePage {
  #client;
  #session;
  #instance;
  #stop = new AbortController();
  #parts = {};
  /** Above each part: since when it has not been renewed. */
  #notes = {};
  #button;
  #asOf = h("span", { class: "as-of" });
  #surveyedAt = 0;
  /** The last answer to each question, when it was asked, and what came instead of a newer one. */
  #answers = {};
  #askedAt = {};
  #problems = new Map();
  /** When everything was asked that was answered in full. */
  #wholeAt = null;

  constructor(client, session, instance) {
    Object.assign(this, { title: instance.name, instance: instance.id });
    [this.#client, this.#session, this.#instance] = [client, session, instance];
  }

  /** Draws the page and keeps it new until `close`. */
  open(outlet) {
    for (const name of PARTS) {
      this.#parts[name] = h("div", { class: "part" });
      this.#notes[name] = h("p", { class: "stale", hidden: true });
    }
    const refresh = h(
      "button",
      { class: "button quiet", type: "button", id: "refresh", onclick: () => this.#refresh() },
      "Refresh",
    );
    this.#button = h(
      "button",
      { class: "button main", type: "button", id: "rotate", onclick: () => this.#start() },
      "Rotate the master key",
    );
    const actions = h(
      "div",
      { class: "actions" },
      this.#session.mayOperate ? [refresh, this.#button] : refresh,
    );
    outlet.replaceChildren(
      h(
        "div",
        { class: "page-top" },
        h(
          "div",
          {},
          h("h1", {}, this.#instance.name),
          h(
            "p",
            { class: "lead" },
            "Service instance ",
            h("code", {}, this.#instance.id),
            this.#asOf,
          ),
        ),
        actions,
      ),
      ...PARTS.flatMap((name) => [this.#notes[name], this.#parts[name]]),
    );
    if (!this.#session.mayOperate) this.#parts.units.append(withheld(this.#session));
    this.#keep();
  }

  close() {
    this.#stop.abort();
  }

  async #keep() {
    const { signal } = this.#stop;
    await this.#refresh();
    while (!signal.aborted) {
      await sleep(pauseMs(this.#running(), this.#client.now(), LOOK_MS), signal);
      if (document.hidden || signal.aborted) continue;
      const wasRunning = this.#instance.open_rotation;
      const wasAway = this.#problems.has("instances");
      await this.#look();
      const isBack = wasAway && !this.#problems.has("instances");
      const isDue = isBack || Date.now() - this.#surveyedAt > SURVEY_MS;
      if (isDue || wasRunning || this.#instance.open_rotation) await this.#refresh();
    }
  }

  #look() {
    return this.#renew("instances", async () => {
      const found = await this.#client.get("instances", { signal: this.#stop.signal });
      this.#instance = found.find(({ id }) => id === this.#instance.id) ?? this.#instance;
    });
  }

  async #refresh() {
    this.#surveyedAt = Date.now();
    const at = this.#client.now();
    const all = [
      this.#look(),
      this.#renew("rotations", () => this.#ask(`rotations?limit=${LISTED}`)),
    ];
    if (this.#session.mayOperate) {
      all.push(this.#renew("compare", () => this.#ask("compare")));
      all.push(this.#renew("manifest", () => this.#manifest()));
    }
    await Promise.all(all);
    if (this.#problems.size === 0) this.#wholeAt = at;
    this.#draw();
  }

  /** Without a manifest there is none to ask for: what is unmet says so. */
  async #manifest() {
    return this.#instance.manifest_serial ? this.#ask("manifest") : null;
  }

  /** Something of this instance, which is called by its name as people do. */
  #ask(what) {
    const name = encodeURIComponent(this.#instance.name);
    return this.#client.get(`instances/${name}/${what}`, { signal: this.#stop.signal });
  }

  /** Asks; what comes instead of an answer is kept beside the last one. */
  async #renew(question, ask) {
    const at = this.#client.now();
    const { signal } = this.#stop;
    try {
      this.#answers[question] = await ask();
      this.#askedAt[question] = at;
      this.#problems.delete(question);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.#problems.set(question, error.document);
    }
    if (!signal.aborted) this.#draw();
  }

  /** The rotation that runs, once the list has it. */
  #running() {
    const { open_rotation: open } = this.#instance;
    return open && this.#answers.rotations?.find(({ rotation }) => rotation === open);
  }

  #draw() {
    const { compare, manifest, rotations } = this.#answers;
    this.#drawRunning();
    if (compare) this.#drawUnits(compare);
    if (manifest !== undefined)
      dom.show(this.#parts.orders, manifest && [manifest.digest, manifest.standing_order], () =>
        manifest ? ordersSection(manifest, this.#client.now()) : [],
      );
    if (rotations)
      dom.show(this.#parts.rotations, rotations, () => rotationsSection(rotations, LISTED));
    this.#drawTrouble();
  }

  #drawRunning() {
    const { open_rotation: open } = this.#instance;
    const view = this.#running();
    dom.show(this.#parts.running, [open, view && [noun(view), holdFacts(view)]], () =>
      open ? running(open, view) : [],
    );
    this.#button.hidden = Boolean(open);
  }

  #drawUnits(view) {
    const { units, keystores, unmet, warnings } = view;
    const isRunning = Boolean(this.#instance.open_rotation);
    const state = this.#state(unmet);
    const facts = (unit) => [unit.number, unit.member.name, unit.state?.registers ?? null];
    dom.show(this.#parts.summary, [units.map(facts), keystores, state], () =>
      summary(view, state),
    );
    // While a rotation runs, it is the one thing that keeps another from starting.
    dom.show(this.#parts.unmet, [unmet, isRunning], () =>
      unmet.length && !isRunning ? unmetSection(unmet) : [],
    );
    dom.show(this.#parts.warnings, warnings, () =>
      warnings.length ? warningsSection(warnings) : [],
    );
    dom.show(this.#parts.units, units.map(unitFacts), () => unitsSection(units));
    dom.show(this.#parts.registers, units.map(facts), () => registersSection(units));
    dom.show(this.#parts.keystores, keystores, () => keystoresSection(keystores));
  }

  /** What all of it comes to, with its colour: the first that is so. */
  #state(unmet) {
    const { open_rotation: open, standing_order_until: until } = this.#instance;
    const view = this.#running();
    if (view && isHolding(view)) return ["info", "Holding"];
    if (open) return ["info", view && noun(view) === "recovery" ? "Recovering now" : "Rotating now"];
    if (unmet.length) return ["warn", dom.unmetText(unmet.length)];
    // Without a standing order a start from here is refused.
    return until > this.#client.now() ? ["good", "Ready to rotate"] : ["info", "Needs signatures"];
  }

  /** What was not answered: each problem once, and a note above all that may be old. */
  #drawTrouble() {
    const { trouble } = this.#parts;
    const problems = distinct(this.#problems.values());
    dom.show(trouble, problems, () => problems.map(dom.problemBox));
    for (const [question, names] of Object.entries(SHOWN_IN)) {
      const since = this.#problems.has(question) ? this.#askedAt[question] : undefined;
      for (const name of names) this.#mark(name, since);
    }
    const [isWhole, at] = [this.#problems.size === 0, this.#wholeAt];
    const never = isWhole ? "" : " not answered in full yet";
    dom.show(this.#asOf, [isWhole, at], () =>
      at ? [isWhole ? " as of " : " not renewed since ", dom.moment(at)] : never,
    );
  }

  #mark(name, since) {
    const note = this.#notes[name];
    note.hidden = !since || !this.#parts[name].hasChildNodes();
    if (since) dom.show(note, since, () => ["Not renewed since ", dom.moment(since), "."]);
  }

  async #start() {
    const { open_rotation: open } = this.#instance;
    const started = open ?? (await startDialog(this.#client, this.#instance));
    if (started) location.hash = `#/rotations/${started}`;
  }
}

/** Each problem once; that nobody answers is the same whatever was asked. */
function distinct(problems) {
  const found = new Map();
  for (const problem of problems) {
    const { code, detail } = problem;
    found.set(code === "unreachable" ? code : `${code} ${detail}`, problem);
  }
  return [...found.values()];
}

function running(id, view) {
  const going = [
    h("strong", {}, `A ${view ? noun(view) : "rotation"} is running.`),
    " It goes on whether anybody watches or not.",
  ];
  const holding = () => [
    h("strong", {}, "A rotation holds, as its order says."),
    " ",
    holdText(view),
  ];
  return h(
    "div",
    { class: "notice info", role: "status" },
    h("p", {}, view && isHolding(view) ? holding() : going),
    h("a", { class: "button", id: "watch", href: `#/rotations/${id}` }, "Watch it"),
  );
}

function withheld(session) {
  const roles = session.roles?.join(", ") || "no role";
  return dom.section(
    "units",
    "Crypto units",
    null,
    h(
      "p",
      {},
      `With the role ${roles} this token shows rotations. Crypto units, registers and the key storage are shown to a Manager or CryptoUnitAdministrator, who may also start and abort rotations.`,
    ),
    h("p", {}, "Next: ", dom.mend("keyhelm token issue --role Manager")),
  );
}

function unmetSection(unmet) {
  return h(
    "div",
    { class: "attention" },
    dom.section(
      "unmet",
      "What keeps a rotation from starting",
      "All of it at once, each with what mends it.",
      dom.findings(unmet, "Conditions that are not met"),
    ),
  );
}

function warningsSection(warnings) {
  return h("div", { class: "card" }, dom.worthKnowing(warnings));
}
