// Crypto units, their master key registers, and the key storage, in the columns and words of
// `keyhelm cryptounit-compare`; and what administrators have signed.

import * as dom from "./dom.js";

const { h } = dom;

/** What one looks for first, in four words; `state` is a colour and a word. */
export function summary({ units, keystores }, state) {
  const answering = units.filter((unit) => unit.state);
  const current = [...new Set(answering.map((unit) => unit.state.registers.current))];
  const keys = keystores.reduce((sum, row) => sum + row.version_count, 0);
  const tile = (name, ...content) =>
    h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, content));
  return h(
    "dl",
    { class: "tiles" },
    tile("State", dom.chip(...state)),
    tile("Crypto units", `${answering.length} of ${units.length} answer`),
    tile("Key storage", dom.counted(keys, "key version")),
    tile("Master key in use", inUse(current)),
  );
}

/** By the patterns of all that answer, each once; whoever is silent may hold another. */
function inUse(patterns) {
  if (patterns.length === 0) return dom.chip("bad", "nobody answers");
  if (patterns.length > 1) return dom.chip("bad", "not the same everywhere");
  return h("code", {}, patterns[0] ? dom.short(patterns[0]) : "Empty");
}

const UNIT_TYPES = { "recovery-unit": "RECOVERY", "operational-unit": "OPERATIONAL" };
const typeOf = (unit) => h("span", { class: "whole" }, UNIT_TYPES[unit.member.role] ?? "-");

/** What of a unit is shown; its clock and counters move all the time. */
export const unitFacts = ({ number, member, state }) => [
  number,
  member,
  state && {
    ...state,
    clock_ahead_ms: Math.round(state.clock_ahead_ms / 1000),
    reported_at: 0,
    state_counter: 0,
    epoch: 0,
    registers: 0,
  },
];

function stateOf({ state }) {
  if (!state) return dom.chip("bad", "does not answer");
  if (state.is_imprint) return dom.chip("warn", "imprint mode");
  const standing = state.rotation?.[1];
  if (standing === "bound") return dom.chip("info", "bound to a rotation");
  return dom.chip("good", "answers");
}

export function unitsSection(units) {
  const columns = [
    "Num",
    "Name",
    "Type",
    "Location",
    "State",
    "Storage key",
    "Signatures",
    "Clock",
  ];
  const rows = units.map((unit) => {
    const { number, member, state } = unit;
    const clock = state ? Math.round(state.clock_ahead_ms / 1000) : 0;
    const needed =
      state && !state.is_imprint
        ? `${state.signature_threshold} to sign, ${state.revocation_threshold} to revoke`
        : "-";
    return [
      String(number),
      member.name,
      typeOf(unit),
      member.location,
      stateOf(unit),
      state ? (state.is_storage_key_local ? "local" : "external") : "-",
      needed,
      state ? (clock ? `${Math.abs(clock)} s ${clock > 0 ? "ahead" : "behind"}` : "in step") : "-",
    ];
  });
  return dom.section("units", "Crypto units", null, dom.table("Crypto units", columns, rows));
}

const newStatus = ({ new: found }) =>
  found ? (found.is_committed ? "Full Committed" : "Full Uncommitted") : "Empty";
const TONES = {
  Valid: "good",
  "Full Committed": "info",
  "Full Uncommitted": "info",
  Retiring: "warn",
  Empty: "calm",
  "does not answer": "bad",
};

export function registersSection(units) {
  const isRetiring = units.some((unit) => unit.state?.registers.retiring);
  const columns = ["Num", "Name", "New master key", "Current master key"];
  if (isRetiring) columns.push("Retiring master key");
  const register = (status, digits) => [dom.chip(TONES[status], status), dom.pattern(digits)];
  const rows = units.map(({ number, member, state }) => {
    const found = state?.registers;
    const shown = found
      ? [
          register(newStatus(found), found.new?.pattern),
          register(found.current ? "Valid" : "Empty", found.current),
          register(found.retiring ? "Retiring" : "Empty", found.retiring),
        ]
      : Array(3).fill(register("does not answer", null));
    return [String(number), member.name, ...shown.slice(0, columns.length - 2)];
  });
  return dom.section(
    "registers",
    "Master key registers",
    "Status and verification pattern.",
    dom.table("Master key registers", columns, rows, { kind: "registers" }),
  );
}

export function keystoresSection(keystores) {
  const columns = ["Keystore", "Keys", "Generation", "Gate", "Pattern of the master key"];
  const rows = keystores.map((row) => [
    h("code", {}, row.keystore),
    dom.counted(row.version_count, "key version"),
    row.open
      ? [`${row.active?.number ?? "none"}, filling ${row.open.number}`]
      : String(row.active?.number ?? "none"),
    row.open && row.mode === "strict" ? dom.chip("warn", "closed") : dom.chip("good", "open"),
    dom.pattern(row.active?.pattern),
  ]);
  const none = h("p", {}, "No keystore has reported.");
  return dom.section(
    "keystores",
    "Key storage",
    null,
    rows.length ? dom.table("Key storage", columns, rows, { header: 0, kind: "registers" }) : none,
  );
}

/** What administrators have signed. */
export function ordersSection({ manifest, digest, standing_order: standing }, now) {
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
