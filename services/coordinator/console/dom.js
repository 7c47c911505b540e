// Elements and words. Everything that is shown is made here as text, never as markup, so that no
// name of a unit or reason of an abort can become a part of the page.

/** An element; `props` are attributes, `on...` listeners, or `hidden`/`disabled` as booleans. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return element;
}

/** Puts other content into an element, unless `facts` are those that it shows already. */
export function show(element, facts, make) {
  const text = JSON.stringify(facts);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.replaceChildren(...[make()].flat());
  if (focused) document.getElementById(focused)?.focus();
}
const shown = new WeakMap();

/** Tells whoever listens to the page; said once, however often it is drawn. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer.textContent !== text) announcer.textContent = text;
}

/** A part of the page with its heading. */
export function section(id, title, lead, ...children) {
  const heading = h("h2", { id: `${id}-title` }, title);
  const top = h(
    "div",
    { class: "section-top" },
    heading,
    lead ? h("p", { class: "lead" }, lead) : null,
  );
  return h("section", { id, class: "card", "aria-labelledby": `${id}-title` }, top, children);
}

/**
 * A table that becomes cards on a narrow screen. The roles are named because a browser forgets them
 * when a table is not displayed as one. Each cell is text, an element, or a list of them; the column
 * `header` (an index) names its row.
 */
export function table(caption, columns, rows, { header = 1, kind = "" } = {}) {
  const cell = (content, index) => {
    const isHeader = index === header;
    const props = { role: isHeader ? "rowheader" : "cell", "data-label": columns[index] };
    const tag = isHeader ? "th" : "td";
    return h(tag, isHeader ? { ...props, scope: "row" } : props, h("div", {}, content));
  };
  const row = (cells) => h("tr", { role: "row" }, cells.map(cell));
  const head = columns.map((column) => h("th", { role: "columnheader", scope: "col" }, column));
  return h(
    "table",
    { role: "table", class: `table ${kind}` },
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, rows.map(row)),
  );
}

/** Names and what they are; a value may be an element. */
export function facts(pairs) {
  const kept = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h(
    "dl",
    { class: "facts" },
    kept.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** A word with a colour; the word alone says it too. */
export function chip(tone, text) {
  return h("span", { class: `chip ${tone}` }, text);
}

/** A command, or a sentence where no command can help. */
export function mend(text) {
  return text.startsWith("keyhelm ") ? h("code", { class: "command" }, text) : h("span", {}, text);
}

/** Conditions with their mends, all at once. */
export function findings(list, label) {
  const one = ({ subject, text, mend: how }) =>
    h(
      "li",
      {},
      h("strong", {}, subject),
      h("span", { class: "so" }, text),
      h("span", { class: "mend" }, "Mend: ", mend(how)),
    );
  return h("ul", { class: "findings", "aria-label": label }, list.map(one));
}

/** Findings that keep nothing from starting: there for whoever wants to read them. */
export function worthKnowing(warnings) {
  const title = `${counted(warnings.length, "thing")} worth knowing`;
  const text = h("p", { class: "lead" }, "These keep no rotation from starting.");
  return h("details", { class: "worth" }, h("summary", {}, title), text, findings(warnings, title));
}

/** A problem document: what happened, what is safe now, the one next command. */
export function problemBox(problem) {
  const { title, status, detail, safe, next_command: next, unmet = [] } = problem;
  // The detail of a precheck is the same conditions once more, in one sentence.
  const what = unmet.length
    ? [h("p", {}, unmetText(unmet.length)), findings(unmet, "Conditions that are not met")]
    : [h("p", {}, detail)];
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", { class: "problem-title" }, status ? `${title} (${status})` : title),
    what,
    safe ? h("p", { class: "safe" }, safe) : null,
    next ? h("p", {}, "Next: ", h("code", { class: "command" }, next)) : null,
  );
}

export const unmetText = (many) =>
  many === 1 ? "1 condition is not met" : `${many} conditions are not met`;

/** A verification pattern on two lines of 32 digits; zeros where a register is Empty. */
export function pattern(digits) {
  const text = digits ?? "0".repeat(64);
  const lines = [h("span", {}, text.slice(0, 32)), h("span", {}, text.slice(32))];
  return h("code", { class: digits ? "pattern" : "pattern none" }, lines);
}

export const short = (digits) => (digits ? `${digits.slice(0, 8)}...` : "none");
export const count = (number) => number.toLocaleString("en-US");
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
export const milliseconds = (ms) => `${count(Math.round(ms))} ms`;
export const seconds = (ms) => `${(Math.floor(Math.max(ms, 0) / 10) / 100).toFixed(2)} s`;

/** How long something took: milliseconds below a second, where they say more. */
export const took = (ms) => (ms < 1000 ? milliseconds(ms) : seconds(ms));

/** Seconds as people say them: `45 s`, `15 min`, `24 h`, `90 d`. */
export function span(total) {
  const units = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
  ];
  const [size, name] = units.find(([size]) => total > 0 && total % size === 0) ?? [1, "s"];
  return `${count(total / size)} ${name}`;
}

/** A moment to the second, in UTC as everywhere else. */
export function moment(ms) {
  const text = new Date(ms).toISOString();
  return h(
    "time",
    { class: "moment", datetime: text },
    `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`,
  );
}
