// The phases of a rotation: their words, the time line, and how it all ended.

import { isEnded } from "./api.js";
import * as dom from "./dom.js";

const { h } = dom;

/** Phases of a rotation that ends well, in order, with what is told when each begins. */
export const PHASES = new Map([
  ["survey", "asking all units and keystores how they stand"],
  ["inspect", "giving the order to all units"],
  ["generate", "generating a random master key in a recovery unit"],
  ["install", "transferring the master key to the other units"],
  ["commit", "committing the new master key registers"],
  ["reencrypt", "re-encrypting the key storage"],
  ["promote", "promoting the new master key in all units"],
  ["flip", "switching to the re-encrypted key storage and reading it back"],
  ["clear", "clearing the old master key in all units"],
  ["drop", "dropping the old key storage"],
  ["done", "master key rotated"],
  ["aborting", "ending the rotation in all units and keystores"],
  ["aborted", "aborted: nothing has changed"],
]);
/** Phases that a rotation has only where it needs them. */
const RARE = ["survey", "aborting", "aborted"];
/** The only phases of a unit that is given its master key back. */
const OF_RECOVERY = ["inspect", "install", "clear", "done"];

export const purpose = ({ purpose: found }) =>
  typeof found === "string" ? found : Object.keys(found)[0];
export const tone = ({ phase }) =>
  ({ done: "good", aborted: "bad", aborting: "warn" })[phase] ?? "info";

export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

/** Pairs of a phase and the ms that it took; the last one may still go on. */
function times({ phases, finished_at: finishedAt }) {
  return phases.map(([phase, at], index) => {
    const until = phases[index + 1]?.[1] ?? finishedAt;
    return { phase, at, ms: until === null || until === undefined ? null : until - at };
  });
}

/** Keys are counted when the key storage is opened. */
export function keysText(view) {
  if (!view.keys_total && !isEnded(view)) return "not counted yet";
  return `${dom.count(view.keys_done)} of ${dom.counted(view.keys_total, "key")}`;
}

export function averageText(view) {
  const found = times(view).find(({ phase }) => phase === "reencrypt");
  if (!found?.ms || view.keys_done === 0) return "";
  return `${dom.count(Math.round((view.keys_done * 1000) / found.ms))} keys/s`;
}

/** The end in the words of the command line. */
export function endText(view) {
  const ms = view.finished_at - view.started_at;
  if (view.phase === "aborted") return `Aborted: ${view.aborted_because ?? "no reason is known"}.`;
  if (purpose(view) === "initialise")
    return `Initialised: a random master key in ${dom.counted(view.units_total, "crypto unit")}, ${dom.seconds(ms)}.`;
  if (purpose(view) === "recover") return `Master key recovered, ${dom.seconds(ms)}.`;
  const units = `${view.units_done} of ${dom.counted(view.units_total, "crypto unit")}`;
  const refused = dom.seconds(view.gate_closed_ms ?? 0);
  return `Master key rotated: ${dom.counted(view.keys_total, "key")}, 0 failed, ${units}, ${dom.seconds(ms)} (key creation refused for ${refused}).`;
}

export function phasesSection(view) {
  const begun = times(view);
  const isGoingOn = !begun.some(({ phase }) => phase.startsWith("abort"));
  const had = new Set(begun.map(({ phase }) => phase));
  // What would have come is of no use once it is aborted.
  const all = purpose(view) === "recover" ? OF_RECOVERY : [...PHASES.keys()];
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
      h("span", { class: "text" }, PHASES.get(phase) ?? ""),
      h("span", { class: "at" }, `after ${dom.seconds(at - start)}`),
      h("span", { class: "time" }, time),
    );
  };
  const later = (phase) =>
    h(
      "li",
      { class: "later" },
      h("span", { class: "name" }, phase),
      h("span", { class: "text" }, PHASES.get(phase)),
    );
  return dom.section(
    "phases",
    "Time by phase",
    "When each began, counted from the start, and how long it took.",
    h("ol", { class: "phases" }, begun.map(item), coming.map(later)),
  );
}
