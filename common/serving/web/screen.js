// @ts-check
/** The parts of the page around picture and text: what goes on, what went wrong, which pictures there are. */

import { LEVELS, percent } from "./confidence.js";
import { byId, make, onPress } from "./dom.js";

/** @import { Problem } from "./problem.js" */
/** @import { Answer, Reading } from "./types.js" */

/** @type {Record<string, [sign: string, words: string]>} */
const STATES = {
  waiting: ["…", "waiting"],
  reading: ["↻", "being read"],
  read: ["✓", "read"],
  failed: ["!", "failed"],
  cancelled: ["×", "cancelled"],
};

export class Screen {
  /** @param {string[][]} keys  key and what it does, for the list of shortcuts */
  constructor(keys) {
    this.status = byId("state", HTMLElement);
    this.clock = byId("clock", HTMLElement);
    this.progress = byId("progress", HTMLProgressElement);
    this.cancel = byId("cancel", HTMLButtonElement);
    this.box = byId("problem", HTMLElement);
    this.ticking = 0;
    const dialog = byId("help-dialog", HTMLDialogElement);
    byId("help-list", HTMLElement).append(
      ...keys.map(([key, words]) => make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, words))),
    );
    onPress("help-open", () => dialog.showModal());
    onPress("help-close", () => dialog.close());
    const shown = /** @type {const} */ (["sure", "check", "unsure", "own"]);
    byId("legend", HTMLElement).append(
      ...shown.map((level) => make("span", { class: "key", "data-level": level }, make("span", { class: "sign", "aria-hidden": "true" }, LEVELS[level].sign), legendOf(level))),
    );
  }

  showStart() {
    byId("start", HTMLElement).hidden = false;
    byId("work", HTMLElement).hidden = true;
    byId("choose", HTMLElement).focus();
  }

  showWork() {
    const start = byId("start", HTMLElement);
    const inside = start.contains(document.activeElement) || document.activeElement === document.body;
    const first = !start.hidden;
    start.hidden = true;
    byId("work", HTMLElement).hidden = false;
    if (first && inside) byId("text-heading", HTMLElement).focus();
  }

  /** @param {string} words  told to the person, by voice too */
  say(words) {
    this.#tick(null);
    this.progress.hidden = true;
    this.status.textContent = words;
  }

  /**
   * @param {string} state
   * @param {string} name  of the picture
   */
  state(state, name) {
    const reading = state === "reading";
    const words = { waiting: `${name} waits for its turn`, reading: `Reading ${name}`, cancelled: `${name} was not read: you cancelled it`, failed: `${name} was not read`, read: `${name} was read` };
    if (reading) this.busy(words.reading);
    else this.say(words[/** @type {keyof typeof words} */ (state)] ?? "");
    this.cancel.hidden = !reading;
  }

  /** @param {string} words  what goes on; the seconds that it takes are counted */
  busy(words) {
    this.say(words);
    this.progress.hidden = false;
    this.#tick((seconds) => (seconds < 1 ? "" : `${seconds} s`));
  }

  /**
   * @param {string} words
   * @param {number} total  seconds that are counted down
   */
  count(words, total) {
    this.busy(words);
    this.#tick((seconds) => `${Math.max(0, Math.ceil(total - seconds))} s`);
  }

  /**
   * Show what a function makes of the seconds that went by. It is not read aloud: it changes every second.
   *
   * @param {((seconds: number) => string) | null} words
   */
  #tick(words) {
    clearInterval(this.ticking);
    this.clock.textContent = words?.(0) ?? "";
    if (!words) return;
    const start = performance.now();
    this.ticking = window.setInterval(() => {
      this.clock.textContent = words(Math.round((performance.now() - start) / 1000));
    }, 1000);
  }

  /**
   * @param {Problem | null} problem  null takes the last one away
   * @param {() => void} again
   * @param {(() => void) | null} remove
   */
  problem(problem, again, remove) {
    this.box.hidden = problem === null;
    this.box.replaceChildren();
    if (!problem) return;
    const buttons = make("p", { class: "buttons" });
    /** @param {string} words @param {() => void} action */
    const button = (words, action) => {
      const made = make("button", { type: "button" }, words);
      made.addEventListener("click", () => {
        this.box.hidden = true;
        action();
      });
      buttons.append(made);
    };
    if (problem.again) button("Try again", again);
    if (remove) button("Remove this picture", remove);
    if (!problem.again && !remove) button("Close", () => {});
    this.box.append(make("h2", {}, problem.title), make("p", {}, `${problem.advice}.`), buttons);
    if (problem.request) this.box.append(make("p", { class: "fine" }, `Request ${problem.request}`));
  }

  /**
   * @param {{name: string, state: string, current: boolean}[]} pictures
   * @param {(index: number) => void} onShow
   * @param {(index: number) => void} onRemove
   */
  shelf(pictures, onShow, onRemove) {
    const shelf = byId("shelf", HTMLUListElement);
    const held = Array.from(shelf.querySelectorAll("button")).indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    shelf.replaceChildren(...pictures.map(({ name, state, current }, index) => {
      const [sign, words] = STATES[state] ?? ["", state];
      const show = make("button", { type: "button", class: "name", "aria-current": current && "true", title: name }, make("span", { class: "sign", "aria-hidden": "true" }, sign), make("span", { class: "cut" }, name), make("span", { class: "visually-hidden" }, `, ${words}`));
      const remove = make("button", { type: "button", class: "remove", "aria-label": `Remove ${name}` }, "×");
      show.addEventListener("click", () => onShow(index));
      remove.addEventListener("click", () => onRemove(index));
      return make("li", { "data-state": state, class: current ? "current" : "" }, show, remove);
    }));
    shelf.querySelector(".current")?.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    if (held >= 0) shelf.querySelectorAll("button")[held]?.focus(); // they are new buttons at the same place
  }

  /**
   * @param {number} at
   * @param {number} count
   */
  pages(at, count) {
    const [before, after] = [byId("page-before", HTMLButtonElement), byId("page-after", HTMLButtonElement)];
    /** @type {HTMLElement} */ (before.parentElement).hidden = count < 2;
    byId("page-number", HTMLElement).textContent = `Page ${at + 1} of ${count}`;
    before.disabled = at === 0;
    after.disabled = at === count - 1;
  }

  /**
   * @param {Reading | null} reading
   * @param {Answer | null} answer
   */
  reading(reading, answer) {
    const count = reading?.lines.length ?? 0;
    const lines = count === 1 ? "1 line" : `${count} lines`;
    byId("summary", HTMLElement).textContent = reading && count ? `${lines}, ${percent(reading.confidence)} sure` : "";
    this.empty(count ? "" : reading ? "No writing was found on this page." : "The text will be here when the picture is read.");
    byId("reader-actions", HTMLElement).hidden = !reading;
    byId("next-doubt", HTMLElement).hidden = !count;
    byId("legend", HTMLElement).hidden = !count;
    const seconds = answer?.seconds;
    byId("made-by", HTMLElement).textContent = answer?.model ? `Model ${answer.model}${seconds ? `, ${seconds.toFixed(1)} s` : ""}` : "";
  }

  /** @param {string} words  in place of the text; none if there is text */
  empty(words) {
    const place = byId("empty", HTMLElement);
    place.textContent = words;
    place.hidden = !words;
  }

  /** @param {boolean} corrected  whether the page has corrections to undo */
  corrected(corrected) {
    byId("reset", HTMLElement).hidden = !corrected;
  }

  /**
   * @param {"picture" | "paper" | "nothing"} seen
   * @param {Reading | null} reading
   */
  explain(seen, reading) {
    const words = [];
    if (seen === "paper" && reading) words.push("Your browser cannot show this file. The text is drawn at its place on blank paper.");
    if (seen === "nothing" && !reading) words.push("Your browser cannot show this file, but the server may be able to read it.");
    if (reading?.upside_down) words.push("The page was upside down. It is shown turned.");
    this.note(words.join(" "));
  }

  /** @param {string} words  beside the picture; none hides the place */
  note(words) {
    const note = byId("note", HTMLElement);
    note.textContent = words;
    note.hidden = !words;
  }
}

/** @param {keyof typeof LEVELS} level */
function legendOf(level) {
  const { least, words } = LEVELS[level];
  if (level === "own") return words;
  if (level === "unsure") return `below ${percent(LEVELS.check.least)}`;
  return `${percent(least)} or more`;
}
