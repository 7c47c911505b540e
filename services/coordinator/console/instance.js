// An instance: its crypto units and their registers, its key storage, what administrators have
// signed, what keeps a rotation from starting, and its rotations.

import { Problem, isEnded, sleep } from "./api.js";
import { startDialog } from "./dialogs.js";
import * as dom from "./dom.js";
import { keysText, purpose, tone } from "./phases.js";
import { keystoresSection, registersSection, summary, unitFacts, unitsSection } from "./units.js";

const { h } = dom;

/** Pause between two looks at whether a rotation runs; it asks no unit. In ms. */
const LOOK_MS = 2_000;
/** Units are asked anew after so long, in ms: at each look while a rotation runs. */
const SURVEY_MS = 15_000;
/** Rotations in the list. */
const LISTED = 20;

/** The parts of the page, in the order in which they stand. */
const PARTS = [
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

export class InstancePage {
  #client;
  #session;
  #instance;
  #stop = new AbortController();
  #parts = {};
  #button;
  #asOf = h("span", { class: "as-of" });
  #surveyedAt = 0;

  constructor(client, session, instance) {
    Object.assign(this, { title: instance.name, instance: instance.id });
    [this.#client, this.#session, this.#instance] = [client, session, instance];
  }

  /** Draws the page and keeps it new until `close`. */
  open(outlet) {
    for (const name of PARTS) this.#parts[name] = h("div", { class: "part" });
    const refresh = h(
      "button",
      { class: "button quiet", type: "button", onclick: () => this.#refresh() },
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
      ...PARTS.map((name) => this.#parts[name]),
    );
    this.#keep();
  }

  close() {
    this.#stop.abort();
  }

  async #keep() {
    await this.#refresh();
    while (!this.#stop.signal.aborted) {
      await sleep(LOOK_MS, this.#stop.signal);
      if (document.hidden || this.#stop.signal.aborted) continue;
      const wasRunning = this.#instance.open_rotation;
      await this.#attempt("running", () => this.#look());
      const isDue = Date.now() - this.#surveyedAt > SURVEY_MS;
      if (isDue || wasRunning || this.#instance.open_rotation) await this.#refresh();
    }
  }

  async #look() {
    const found = await this.#client.get("instances", { signal: this.#stop.signal });
    this.#instance = found.find(({ id }) => id === this.#instance.id) ?? this.#instance;
    const { open_rotation: open } = this.#instance;
    dom.show(this.#parts.running, open, () => (open ? running(open) : []));
    this.#button.hidden = Boolean(open);
  }

  async #refresh() {
    this.#surveyedAt = Date.now();
    const lists = this.#attempt("rotations", async () => {
      const found = await this.#ask(`rotations?limit=${LISTED}`);
      dom.show(this.#parts.rotations, found, () => rotations(found));
    });
    const all = [this.#attempt("running", () => this.#look()), lists];
    if (this.#session.mayOperate) all.push(this.#units(), this.#orders());
    else dom.show(this.#parts.units, "withheld", () => withheld(this.#session));
    await Promise.all(all);
    dom.show(this.#asOf, this.#surveyedAt, () => [" as of ", dom.moment(this.#client.now())]);
  }

  #units() {
    return this.#attempt("summary", async () => {
      const view = await this.#ask("compare");
      const { units, keystores, unmet, warnings } = view;
      const isRunning = Boolean(this.#instance.open_rotation);
      const facts = (unit) => [unit.number, unit.member.name, unit.state?.registers ?? null];
      dom.show(this.#parts.summary, [units.map(facts), keystores, unmet.length, isRunning], () =>
        summary(view, isRunning),
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
    });
  }

  #orders() {
    return this.#attempt("orders", async () => {
      // Without a manifest there is none to ask for: what is unmet says so.
      if (!this.#instance.manifest_serial) return dom.show(this.#parts.orders, null, () => []);
      const view = await this.#ask("manifest");
      dom.show(this.#parts.orders, [view.digest, view.standing_order], () =>
        ordersSection(view, this.#client.now()),
      );
    });
  }

  /** Something of this instance, which is called by its name as people do. */
  #ask(what) {
    const name = encodeURIComponent(this.#instance.name);
    return this.#client.get(`instances/${name}/${what}`, { signal: this.#stop.signal });
  }

  /** Shows in a part of the page what came instead of what was asked for. */
  async #attempt(part, ask) {
    try {
      await ask();
    } catch (error) {
      if (this.#stop.signal.aborted || !(error instanceof Problem)) {
        if (!this.#stop.signal.aborted) throw error;
        return;
      }
      dom.show(this.#parts[part], error.document, () => dom.problemBox(error.document));
    }
  }

  async #start() {
    const { open_rotation: open } = this.#instance;
    const started = open ?? (await startDialog(this.#client, this.#instance));
    if (started) location.hash = `#/rotations/${started}`;
  }
}

function running(id) {
  return h(
    "div",
    { class: "notice info", role: "status" },
    h(
      "p",
      {},
      h("strong", {}, "A rotation is running."),
      " It goes on whether anybody watches or not.",
    ),
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

function ordersSection({ manifest, digest, standing_order: standing }, now) {
  const administrators = manifest.administrators.map(({ name }) => name).join(", ");
  const often =
    standing &&
    (standing.not_more_often_than_s
      ? `at most once in ${dom.span(standing.not_more_often_than_s)}`
      : "as often as asked");
  const none = "none: each rotation is signed by administrators (keyhelm auto-mk-rotate --sign)";
  const state = !standing
    ? none
    : [
        standing.until > now ? dom.chip("good", "in force") : dom.chip("bad", "ended"),
        ` coordinators may rotate ${often}, until `,
        dom.moment(standing.until),
      ];
  return dom.section(
    "orders",
    "Standing order and manifest",
    "What administrators have signed.",
    dom.facts(
      [
        ["Standing order", h("span", {}, state)],
        [
          "Hold after commit",
          standing?.hold_after_commit_s ? dom.span(standing.hold_after_commit_s) : null,
        ],
        [
          "Hold before clear",
          standing?.hold_before_clear_s ? dom.span(standing.hold_before_clear_s) : null,
        ],
        ["Administrators", administrators],
        ["Signature threshold", dom.counted(manifest.signature_threshold, "signature")],
        ["Revocation threshold", dom.counted(manifest.revocation_threshold, "signature")],
        ["Manifest", [`number ${manifest.serial}, made `, dom.moment(manifest.created_at)]],
        ["Digest", h("code", { class: "digest" }, digest)],
      ].map(([name, value]) => [name, value && h("span", {}, value)]),
    ),
  );
}

function rotations(found) {
  const columns = ["Started", "Purpose", "Phase", "Keys", "Took", "Pattern"];
  const rows = found.map((view) => [
    [
      h(
        "a",
        { href: `#/rotations/${view.rotation}`, id: `rotation-${view.rotation}` },
        dom.moment(view.started_at),
      ),
      h("code", { class: "id" }, view.rotation),
    ],
    purpose(view),
    dom.chip(tone(view), view.phase),
    keysText(view),
    isEnded(view) ? dom.took(view.finished_at - view.started_at) : "still running",
    h("code", {}, `${dom.short(view.from)} → ${dom.short(view.to)}`),
  ]);
  const shown = rows.length
    ? dom.table("Rotations", columns, rows, { header: 0, kind: "rotations" })
    : h("p", {}, "No rotations yet.");
  return dom.section("rotations", "Rotations", `The newest ${LISTED}.`, shown);
}
