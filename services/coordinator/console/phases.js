// The phases of a rotation: their words, the time line, its holds, and how it all ended.

import { isEnded } from "./api.js";
import * as dom from "./dom.js";

const { h } = dom;

/** In a hold nothing happens soon: it is asked about after so long, in ms. */
const HELD_MS = 15_000;

/** All phases, in order, with what is told when each begins. */
const PHASES = new Map([
  ["survey", "asking all units and keystores how they stand"],
  ["inspect", "giving the order to all units"],
  ["generate", "generating a random master key in a recovery unit"],
  ["install", "transferring the master key to the other units"],
  ["commit", "committing the new master key registers"],
  ["hold-after-commit", "holding: time for whoever keeps wrapped keys elsewhere"],
  ["reencrypt", "re-encrypting the key storage"],
  ["promote", "promoting the new master key in all units"],
  ["flip", "switching to the re-encrypted key storage and reading it back"],
  ["hold-before-clear", "holding: the old master key is kept for a time"],
  ["clear", "clearing the old master key in all units"],
  ["drop", "dropping the old key storage"],
  ["done", "master key rotated"],
  ["aborting", "ending the rotation in all units and keystores"],
  // Whether nothing has changed then, only the event of its end says.
  ["aborted", "aborted"],
]);
/** Those of a unit that is given its master key back, in their own words. */
const OF_RECOVERY = new Map([
  ["inspect", "giving the order to both units"],
  ["install", "transferring the master key from the recovery unit"],
  ["clear", "ending the order in the recovery unit"],
  ["done", "master key recovered"],
  ["aborting", "ending the recovery in both units"],
]);
/** Phases that a rotation has only where it needs them, or where its order says so. */
const RARE = ["survey", "hold-after-commit", "hold-before-clear", "aborting", "aborted"];

export const purpose = ({ purpose: found }) =>
  typeof found === "string" ? found : Object.keys(found)[0];
const isRecovery = (view) => purpose(view) === "recover";

/** What it is called in a sentence, and over its page. */
export const noun = (view) => (isRecovery(view) ? "recovery" : "rotation");
export const heading = (view) =>
  purpose(view) === "initialise" ? "First master key" : `Master key ${noun(view)}`;

export const tone = ({ phase }) =>
  ({ done: "good", aborted: "bad", aborting: "warn" })[phase] ?? "info";

export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

/** What is told of a phase, where no event has told it in its own words. */
export function phaseText(view, phase = view.phase) {
  const own = isRecovery(view) ? OF_RECOVERY.get(phase) : undefined;
  return own ?? PHASES.get(phase) ?? phase;
}

/** Pairs of a phase and the ms that it took; the last one may still go on. */
function times({ phases, finished_at: finishedAt }) {
  return phases.map(([phase, at], index) => {
    const until = phases[index + 1]?.[1] ?? finishedAt;
    return { phase, at, ms: until === null || until === undefined ? null : until - at };
  });
}

/** Keys are counted when the key storage is opened; a recovery touches none. */
export function keysText(view) {
  if (isRecovery(view)) return "no keys";
  if (!view.keys_total && !isEnded(view)) return "not counted yet";
  return `${dom.count(view.keys_done)} of ${dom.counted(view.keys_total, "key")}`;
}

export function averageText(view) {
  const found = times(view).find(({ phase }) => phase === "reencrypt");
  if (!found?.ms || view.keys_done === 0) return "";
  return `${dom.count(Math.round((view.keys_done * 1000) / found.ms))} keys/s`;
}

/** Whether it waits because its order says so; until when is known then. */
export const isHolding = (view) => !isEnded(view) && Boolean(view.hold_until);

/** What of a hold is shown; its end differs by the moment in which a unit's clock was read. */
export const holdFacts = (view) =>
  isHolding(view) ? [view.phase, Math.round(view.hold_until / 10_000)] : null;

/** Pause before the next question about a rotation: longer while it holds, but for the hold's end. */
export function pauseMs(view, now, usual) {
  if (!view || !isHolding(view)) return usual;
  return Math.max(usual, Math.min(HELD_MS, view.hold_until - now));
}

/** A hold in the words of the command line. */
export function holdText(view) {
  const until = dom.moment(view.hold_until);
  const end = h("code", { class: "command" }, `keyhelm hold-end ${view.rotation}`);
  if (view.phase !== "hold-before-clear")
    return [
      "Keys are served; re-encryption begins after the hold, which lasts until ",
      until,
      ". ",
      end,
      " ends the hold early.",
    ];
  return [
    `Master key rotated and in use: ${dom.counted(view.keys_total, "key")}. The old one is kept until `,
    until,
    "; the next rotation can start after that, or after ",
    end,
    ".",
  ];
}

export function holdBox(view) {
  const lasts = h("strong", {}, "The hold lasts until ", dom.moment(view.hold_until), ".");
  return h(
    "div",
    { class: "notice info", id: "hold" },
    h("p", {}, lasts, " ", holdText(view)),
  );
}

/** The end in the words of the command line. */
export function endText(view) {
  const ms = view.finished_at - view.started_at;
  if (view.phase === "aborted") return `Aborted: ${view.aborted_because ?? "no reason is known"}.`;
  if (purpose(view) === "initialise")
    return `Initialised: a random master key in ${dom.counted(view.units_total, "crypto unit")}, ${dom.seconds(ms)}.`;
  if (isRecovery(view)) return `Master key recovered, ${dom.seconds(ms)}.`;
  const lost = view.keys_quarantined
    ? `${dom.count(view.keys_quarantined)} in quarantine`
    : "0 failed";
  const units = `${view.units_done} of ${dom.counted(view.units_total, "crypto unit")}`;
  const refused = dom.seconds(view.gate_closed_ms ?? 0);
  return `Master key rotated: ${dom.counted(view.keys_total, "key")}, ${lost}, ${units}, ${dom.seconds(ms)} (key creation refused for ${refused}).`;
}

/** `told` is what was told of the end: whether nothing has changed, only whoever ended it knows. */
export function endBox(view, told) {
  const isDone = view.phase === "done";
  const kind = !isDone ? "bad" : view.keys_quarantined ? "warn" : "good";
  const ended = told ? sentence(told.replace(/^aborted: /, "")) : "";
  return h(
    "div",
    { class: `notice ${kind}`, id: "end" },
    h("p", {}, h("strong", {}, endText(view)), " ", isDone ? patternText(view) : ended),
  );
}

function patternText(view) {
  const [from, to] = [view.from, view.to].map((digits) => h("code", {}, dom.short(digits)));
  const shown = { initialise: [to], recover: [from] }[purpose(view)] ?? [from, " → ", to];
  return ["Pattern ", shown, "."];
}

/** The list of an instance's rotations, the newest `most`. */
export function rotationsSection(found, most) {
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
  return dom.section("rotations", "Rotations", `The newest ${most}.`, shown);
}

/** The time line; `told` has what events have told of phases. */
export function phasesSection(view, told) {
  const begun = times(view);
  const isGoingOn = !begun.some(({ phase }) => phase.startsWith("abort"));
  const had = new Set(begun.map(({ phase }) => phase));
  // What would have come is of no use once it is aborted.
  const all = [...(isRecovery(view) ? OF_RECOVERY : PHASES).keys()];
  const coming = isGoingOn
    ? all.filter((phase) => !had.has(phase) && !RARE.includes(phase))
    : [];
  const start = view.started_at;
  const item = ({ phase, at, ms }, index) => {
    const isLast = index === begun.length - 1;
    const state = isLast && !isEnded(view) ? "now" : "past";
    const time =
      isLast && isEnded(view) ? "" : ms === null ? h("span", { "data-since": at }) : dom.took(ms);
    return h(
      "li",
      { class: `${state} ${phase}`, "aria-current": state === "now" ? "step" : null },
      h("span", { class: "name" }, phase),
      h("span", { class: "text" }, told.get(phase) ?? phaseText(view, phase)),
      h("span", { class: "at" }, `after ${dom.seconds(at - start)}`),
      h("span", { class: "time" }, time),
    );
  };
  const later = (phase) =>
    h(
      "li",
      { class: "later" },
      h("span", { class: "name" }, phase),
      h("span", { class: "text" }, phaseText(view, phase)),
    );
  return dom.section(
    "phases",
    "Time by phase",
    "When each began, counted from the start, and how long it took.",
    h("ol", { class: "phases" }, begun.map(item), coming.map(later)),
  );
}

export function waitingSection(waiting) {
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

function toPattern(view) {
  if (isRecovery(view)) return null;
  if (view.to) return dom.pattern(view.to);
  return isEnded(view) ? "none" : "not known yet";
}

function quarantineFact(view) {
  if (!view.keys_quarantined) return null;
  return `${dom.counted(view.keys_quarantined, "key version")} that no crypto unit opened: carried as they are`;
}

export function factsSection(view, onSave) {
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
      ["In quarantine", quarantineFact(view)],
      ["From pattern", dom.pattern(view.from)],
      ["To pattern", toPattern(view)],
      ["Aborted because", view.aborted_because],
      ["Receipt", receiptFact(view, onSave)],
      ["Trace id", view.trace_id ? h("code", { class: "digest" }, view.trace_id) : null],
    ]),
  );
}
