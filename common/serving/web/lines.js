// @ts-check
/** The text, line by line: each line is a field, with its uncertain characters marked. */

import { LEVELS, isDoubtful, levelOf, percent } from "./confidence.js";
import { make } from "./dom.js";

/** @import { Character } from "./types.js" */

/**
 * @typedef {object} ShownLine
 * @property {string} text
 * @property {Character[]} characters  of this text, with confidences
 * @property {number | null} confidence  null if a person wrote it
 * @property {boolean} changed  whether there is a correction to undo
 *
 * @typedef {object} Events
 * @property {(index: number, text: string) => void} onInput
 * @property {(index: number) => void} onFocus
 * @property {() => void} onBlur
 * @property {(index: number | null) => void} onHover
 * @property {(index: number) => void} onReset
 *
 * @typedef {object} Row
 * @property {HTMLLIElement} item
 * @property {HTMLTextAreaElement} field
 * @property {HTMLElement} marks
 * @property {HTMLElement} confidence
 * @property {HTMLElement} note
 * @property {HTMLButtonElement} reset
 */

/**
 * The text, with neighbouring uncertain characters in one mark.
 *
 * @param {Character[]} characters
 * @returns {(string | HTMLElement)[]}
 */
function marked(characters) {
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  for (const one of characters) {
    const last = parts[parts.length - 1];
    if (!isDoubtful(one)) parts.push(one.text);
    else if (last instanceof HTMLElement) last.append(one.text);
    else parts.push(make("mark", {}, one.text));
  }
  return parts;
}

export class LineList {
  /**
   * @param {HTMLOListElement} list
   * @param {Events} events
   */
  constructor(list, events) {
    this.list = list;
    this.events = events;
    /** @type {Row[]} */
    this.rows = [];
  }

  /** @param {ShownLine[]} lines */
  show(lines) {
    this.rows = lines.map((_, index) => this.#row(index));
    this.list.replaceChildren(...this.rows.map((row) => row.item));
    lines.forEach((line, index) => this.update(index, line));
  }

  /**
   * @param {number} index
   * @param {ShownLine} line
   */
  update(index, line) {
    const { item, field, marks, confidence, note, reset } = this.rows[index];
    const level = levelOf(line.confidence);
    const said = line.confidence === null ? LEVELS.own.words : `${percent(line.confidence)} ${LEVELS[level].words}`;
    item.dataset.level = level;
    if (field.value !== line.text) field.value = line.text;
    // the field has the size of these marks, which hold the same text behind it
    marks.replaceChildren(...marked(line.characters), "\u200b");
    confidence.replaceChildren(
      make("span", { class: "sign" }, LEVELS[level].sign),
      line.confidence === null ? "" : percent(line.confidence),
    );
    confidence.title = said;
    const doubtful = line.characters.filter(isDoubtful).map((one) => one.text);
    note.textContent = said + (doubtful.length ? `. Uncertain: ${doubtful.join(" ")}` : "");
    reset.hidden = !line.changed;
  }

  /** @param {number | null} index  line under the pointer */
  hover(index) {
    this.rows.forEach(({ item }, at) => item.classList.toggle("hover", at === index));
  }

  /** @param {number | null} index  line that is edited */
  select(index) {
    this.rows.forEach(({ item }, at) => item.classList.toggle("selected", at === index));
    // on a phone the picture lies over the upper part of the text, which the browser does not know
    if (index !== null) this.rows[index]?.item.scrollIntoView({ block: "nearest", behavior: "instant" });
  }

  /** @param {number} index */
  focus(index) {
    this.rows[index]?.field.focus();
  }

  /**
   * Focus the next line of a level, from the first again after the last.
   *
   * @param {string} level
   * @param {number} after  index of a line
   * @returns {boolean} whether there is one
   */
  focusLevel(level, after) {
    const count = this.rows.length;
    const order = Array.from({ length: count }, (_, step) => (after + 1 + step) % count);
    const next = order.find((index) => this.rows[index].item.dataset.level === level);
    if (next !== undefined) this.focus(next);
    return next !== undefined;
  }

  /** The line whose field has the focus; -1 if none has. */
  get focused() {
    return this.rows.findIndex(({ field }) => field === document.activeElement);
  }

  /**
   * @param {number} index
   * @returns {Row}
   */
  #row(index) {
    const number = index + 1;
    const note = make("span", { id: `note-${number}`, class: "visually-hidden" });
    const field = make("textarea", {
      rows: 1,
      dir: "auto",
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "off",
      "aria-label": `Line ${number}`,
      "aria-describedby": note.id,
    });
    const marks = make("div", { class: "marks", dir: "auto", "aria-hidden": "true" });
    const confidence = make("span", { class: "confidence", "aria-hidden": "true" });
    const reset = make("button", { type: "button", class: "reset", "aria-label": `Undo the correction of line ${number}`, title: "Undo this correction" }, "↺");
    const item = make(
      "li",
      { class: "line" },
      make("span", { class: "number", "aria-hidden": "true" }, String(number)),
      make("div", { class: "field" }, marks, field),
      confidence,
      reset,
      note,
    );
    item.addEventListener("pointerenter", () => this.events.onHover(index));
    item.addEventListener("pointerleave", () => this.events.onHover(null));
    field.addEventListener("focus", () => this.events.onFocus(index));
    field.addEventListener("blur", () => this.events.onBlur());
    field.addEventListener("keydown", (event) => this.#key(event, index));
    field.addEventListener("input", (event) => {
      if (/[\r\n]/.test(field.value)) { // pasted: a line of the page is one line of text
        const at = field.selectionStart;
        field.value = field.value.replace(/\r\n|[\r\n]/g, " ");
        field.setSelectionRange(at, at);
      }
      if (!(/** @type {InputEvent} */ (event).isComposing)) this.events.onInput(index, field.value);
    });
    field.addEventListener("compositionend", () => this.events.onInput(index, field.value));
    reset.addEventListener("click", () => {
      this.events.onReset(index);
      field.focus();
    });
    return { item, field, marks, confidence, note, reset };
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} index
   */
  #key(event, index) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = this.rows[index].field;
    // in a field that is broken into several rows, the arrows first go to its ends
    const rows = field.clientHeight > 2 * parseFloat(getComputedStyle(field).lineHeight);
    const [start, end] = [field.selectionStart === 0, field.selectionEnd === field.value.length];
    if (event.key === "Escape") field.blur();
    else if (event.key === "Enter") this.focus(index + (event.shiftKey ? -1 : 1));
    else if (event.key === "ArrowDown" && !event.shiftKey && (!rows || end)) this.focus(index + 1);
    else if (event.key === "ArrowUp" && !event.shiftKey && (!rows || start)) this.focus(index - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
