// @ts-check
/** Labelling a folder: the reader proposes lines, a person corrects texts and baselines, the server keeps them. */

import { isAbort } from "./api.js";
import { ask } from "./ask.js";
import { BaselineEditor } from "./baseline.js";
import { byId, isTyping, onPress } from "./dom.js";
import { draftOf, dropDraft, keepDraft } from "./drafts.js";
import { Folder } from "./folder.js";
import { History } from "./history.js";
import { KEYS, commandOf } from "./label_keys.js";
import { below, drawn, forServer, fromServer, moved, shown, withBaseline, withNew, withText, without } from "./label_lines.js";
import { LineList } from "./lines.js";
import { Problem } from "./problem.js";
import { showSaved } from "./save_bar.js";
import { Saver } from "./saver.js";
import { Screen } from "./screen.js";
import { PictureView } from "./view.js";

/** @import { Api, LabelEntry, LabelPage } from "./api.js" */
/** @import { Lines } from "./label_lines.js" */
/** @import { SaveState } from "./saver.js" */
/** @import { Point } from "./types.js" */

/** @type {[id: string, command: import("./label_keys.js").Command][]} */
const BUTTONS = [
  ["add-line", "add"], ["line-up", "up"], ["line-down", "down"], ["delete-line", "delete"], ["undo", "undo"], ["redo", "redo"], ["save", "save"],
];

/** @param {Api} api */
export function startLabelling(api) {
  void new Labelling(api).start();
}

class Labelling {
  /** @param {Api} api */
  constructor(api) {
    this.api = api;
    /** @type {LabelPage | null} */
    this.page = null;
    /** @type {History<Lines>} */
    this.history = new History(/** @type {Lines} */ ([]));
    /** @type {Saver | null} */
    this.saver = null;
    /** @type {number | null} index of the line that is edited */
    this.selected = null;
    this.url = "";
    /** What the server says about files of the folder that are no pages. */
    this.leftOut = "";
    this.opening = new AbortController();
    this.screen = new Screen(KEYS);
    this.folder = new Folder({
      onOpen: (index) => void this.open(index),
      onNoneLeft: () => this.screen.say("Every other page is corrected"),
    });
    /** @type {Record<import("./label_keys.js").Command, () => unknown>} */
    this.commands = {
      save: () => this.#save(),
      undo: () => this.#step(this.history.undo(), "Undone"),
      redo: () => this.#step(this.history.redo(), "Done again"),
      up: () => this.#shift(-1),
      down: () => this.#shift(1),
      add: () => this.#addBelow(),
      delete: () => this.#delete(),
      next: () => this.open(this.folder.at + 1),
      previous: () => this.open(this.folder.at - 1),
    };
    this.view = new PictureView(byId("view", HTMLElement), {
      onHover: (index) => this.#hover(index),
      onSelect: (index) => this.list.focus(index),
    });
    this.list = new LineList(byId("lines", HTMLOListElement), {
      onInput: (index, text) => this.#edit(withText(this.lines, index, text), { kind: `text ${index}`, redrawn: index }),
      onFocus: (index) => this.#select(index),
      onBlur: () => {}, // a line stays selected, so that its points and the buttons can be reached
      onHover: (index) => this.#hover(index),
      onReset: (index) => this.#edit(withText(this.lines, index, this.lines[index].source?.text ?? ""), { redrawn: index }),
    });
    this.baselines = new BaselineEditor(this.view, {
      onMove: (baseline, done) => this.#moveBaseline(baseline, done),
      onDraw: (baseline) => this.#add(baseline),
      onDrawing: (drawing, count) => this.#tellDrawing(drawing, count),
    });
  }

  /** @returns {Lines} */
  get lines() {
    return this.history.current;
  }

  async start() {
    document.title = "fourhands: label a folder";
    byId("tagline", HTMLElement).textContent = "Label a folder";
    for (const id of ["folder", "label-tools", "saving"]) byId(id, HTMLElement).hidden = false;
    for (const id of ["shelf-nav", "reader-actions"]) byId(id, HTMLElement).hidden = true;
    this.screen.showWork();
    this.#listen();
    await this.#list();
  }

  #listen() {
    onPress("zoom-in", () => this.view.zoomIn());
    onPress("zoom-out", () => this.view.zoomOut());
    onPress("zoom-width", () => this.view.fitWidth());
    onPress("zoom-page", () => this.view.fitPage());
    onPress("next-doubt", () => this.#nextDoubt());
    onPress("draw-line", () => (this.baselines.drawn ? this.baselines.finish() : this.baselines.start()));
    for (const [id, command] of BUTTONS) onPress(id, this.commands[command]);
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") void this.saver?.flush(true);
    });
    addEventListener("beforeunload", (event) => {
      if (!this.saver?.pending) return;
      void this.saver.flush(true);
      event.preventDefault();
    });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const { key } = event;
    const command = commandOf(event);
    if (command) void this.commands[command]();
    else if (this.baselines.drawn && key === "Enter") this.baselines.finish();
    else if (this.baselines.drawn && key === "Backspace") this.baselines.back();
    else if (this.baselines.drawn && key === "Escape") this.baselines.cancel();
    else if (key === "Escape" && !isTyping()) this.#select(null);
    else return;
    event.preventDefault();
  }

  async #list() {
    try {
      const { pages, left_out: leftOut } = await this.api.labelPages();
      this.folder.entries = pages;
      this.leftOut = leftOut.join(" ");
    } catch (error) {
      this.#fail(error, () => this.#list());
      return;
    }
    this.folder.show();
    if (this.folder.entries.length) await this.open(this.folder.first);
    else this.screen.say("The folder has no pictures");
  }

  // --- one page

  /** @param {number} index */
  async open(index) {
    const entry = this.folder.entries[index];
    if (!entry) return;
    if (this.baselines.drawn) this.baselines.cancel();
    await this.saver?.flush();
    this.saver?.stop();
    this.opening.abort();
    const work = this.opening = new AbortController();
    this.folder.at = index;
    Object.assign(this, { page: null, saver: null, selected: null, history: new History(/** @type {Lines} */ ([])) });
    globalThis.history.replaceState(null, "", `#${entry.id}`);
    this.folder.show();
    this.#showSaved("saved", null);
    this.#render();
    this.screen.problem(null, () => {}, null);
    this.screen.busy(`Opening ${entry.name}`);
    try {
      const answer = this.api.labelPage(entry.id, {
        signal: work.signal,
        onWait: ({ seconds, attempt, tries }) => this.screen.count(`The server is busy. Try ${attempt} of ${tries} in`, seconds),
        onSend: () => this.screen.busy(`Opening ${entry.name}`),
      });
      answer.catch(() => {}); // if the picture fails first, that is what is told
      const picture = await this.api.labelPicture(entry.id, work.signal);
      work.signal.throwIfAborted();
      URL.revokeObjectURL(this.url);
      this.url = URL.createObjectURL(picture);
      const sheet = { url: this.url, width: 0, height: 0, turned: false, name: entry.name };
      await this.view.show(sheet); // while the reader reads
      const page = await answer;
      if (page.width !== this.view.size.width) await this.view.show({ ...sheet, width: page.width, height: page.height });
      work.signal.throwIfAborted();
      await this.#begin(entry, page);
    } catch (error) {
      if (this.opening === work) this.#fail(error, () => this.open(index));
    }
  }

  /**
   * @param {LabelEntry} entry
   * @param {LabelPage} page
   */
  async #begin(entry, page) {
    const start = fromServer(page.lines);
    const draft = draftOf(entry.name, page);
    const fresh = draft && JSON.stringify(forServer(draft.lines)) !== JSON.stringify(forServer(start)) ? draft : null;
    const choice = fresh && await ask({
      title: "You have work on this page that was not saved",
      words: `It is of ${new Date(fresh.time).toLocaleString()}.${fresh.version === page.version ? "" : " The saved page has changed since then."}`,
      choices: [["take", "Go on with it"], ["drop", "Throw it away"]],
    });
    if (choice !== "take") dropDraft(entry.name);
    this.page = page;
    this.history = new History(start);
    this.saver = new Saver({
      version: page.version,
      send: (lines, version, leaving) => this.api.saveLabel(entry.id, version, forServer(lines), leaving),
      onState: (state, problem) => this.#showSaved(state, problem),
    });
    this.screen.say(`${entry.name} is open`);
    this.screen.note([this.leftOut, page.note].filter(Boolean).join(" "));
    this.leftOut = ""; // said once
    if (fresh && choice === "take") {
      this.history.push(fresh.lines);
      this.saver.changed(fresh.lines);
      keepDraft(entry.name, fresh);
    }
    this.folder.show();
    this.#render();
  }

  /**
   * @param {unknown} error
   * @param {() => unknown} again
   */
  #fail(error, again) {
    if (isAbort(error)) return;
    if (!(error instanceof Problem)) throw error;
    this.screen.say(error.title);
    this.screen.problem(error, again, null);
  }

  // --- changes

  /**
   * @param {Lines} lines
   * @param {{kind?: string, select?: number | null, redrawn?: number}} [how]  `redrawn`: only this line's text changed
   */
  #edit(lines, { kind = "", select, redrawn } = {}) {
    if (!this.page || !this.saver) return;
    this.history.push(lines, kind);
    this.#changed();
    if (select !== undefined) this.selected = select;
    if (redrawn === undefined) this.#render(select !== undefined);
    else {
      this.list.update(redrawn, shown(this.lines[redrawn]));
      this.view.redraw(redrawn, drawn(this.lines[redrawn]));
      this.#showTools();
    }
  }

  #changed() {
    const { page, saver } = this;
    if (!page || !saver) return;
    const { version, width, height, name } = page;
    const kept = keepDraft(name, { version, width, height, time: Date.now(), lines: [...this.lines] });
    if (!kept) this.screen.note("This browser cannot keep unsaved work. Save often.");
    saver.changed(this.lines);
  }

  /**
   * @param {Lines} lines  that a step back or forth has led to
   * @param {string} words
   */
  #step(lines, words) {
    if (!this.page) return;
    const typing = this.list.focused;
    this.#changed();
    this.selected = this.selected === null ? null : Math.min(this.selected, lines.length - 1);
    if (this.selected !== null && this.selected < 0) this.selected = null;
    this.#render(typing >= 0);
    this.screen.say(words);
  }

  /** @param {Point[]} baseline */
  #add(baseline) {
    const { lines, index } = withNew(this.lines, baseline);
    this.#edit(lines, { select: index });
    this.screen.say(`Line ${index + 1} is added`);
  }

  #addBelow() {
    if (!this.page) return;
    const at = this.selected ?? this.lines.length - 1;
    const baseline = below(this.lines, at, this.page);
    this.#edit(this.lines.toSpliced(at + 1, 0, { text: "", baseline, outline: null, source: null }), { select: at + 1 });
    this.screen.say(`Line ${at + 2} is added`);
  }

  #delete() {
    const at = this.selected;
    if (at === null || !this.lines[at]) return;
    const left = this.lines.length - 1;
    this.#edit(without(this.lines, at), { select: left ? Math.min(at, left - 1) : null });
    this.screen.say(`Line ${at + 1} is deleted`);
  }

  /** @param {number} step */
  #shift(step) {
    const at = this.selected;
    if (at === null || !this.lines[at + step]) return;
    this.#edit(moved(this.lines, at, at + step), { select: at + step });
    this.screen.say(`The line is now line ${at + step + 1}`);
  }

  /**
   * @param {Point[]} baseline
   * @param {boolean} done
   */
  #moveBaseline(baseline, done) {
    const at = this.selected;
    if (at === null || !this.lines[at]) return;
    if (!done) this.view.moveBaseline(at, baseline);
    else if (baseline !== this.lines[at].baseline) this.#edit(withBaseline(this.lines, at, baseline), { kind: `baseline ${at}` });
  }

  /**
   * @param {boolean} drawing
   * @param {number} count  of points
   */
  #tellDrawing(drawing, count) {
    const button = byId("draw-line", HTMLButtonElement);
    button.setAttribute("aria-pressed", String(drawing));
    button.textContent = drawing && count > 1 ? "Finish the line" : "Draw a line";
    if (!drawing) this.screen.say("");
    else if (count < 2) this.screen.say("Press on the picture along the baseline, from the first letter to the last. Esc stops");
    else this.screen.say(`${count} points. Press Enter or “Finish the line” when the line is complete`);
  }

  // --- saving

  async #save() {
    if (!this.saver || !this.page) return;
    this.saver.changed(this.lines);
    await this.saver.flush();
  }

  /**
   * @param {SaveState} state
   * @param {Problem | null} problem
   */
  #showSaved(state, problem) {
    const entry = this.folder.current;
    const untouched = state === "saved" && entry?.state === "new" && !this.saver?.pending && !this.history.canUndo;
    showSaved(untouched ? "proposed" : state);
    if (state === "failed" && problem) this.screen.problem(problem, () => this.#save(), null);
    else this.screen.problem(null, () => {}, null);
    if (!this.page || !this.saver || !entry) return;
    if (state === "saved" && this.saver.pending === null) {
      dropDraft(entry.name);
      if (this.saver.version !== this.page.version) {
        this.page.version = this.saver.version;
        Object.assign(entry, { state: "corrected", lines: this.lines.length });
        this.folder.show();
        this.#showSaved(state, problem);
      }
    } else if (state === "conflict") void this.#settle();
  }

  /** Let the person choose between two versions of the page. */
  async #settle() {
    const { page, saver } = this;
    if (!page || !saver) return;
    const choice = await ask({
      title: "Somebody else saved this page",
      words: "Their lines differ from yours. Every saved version stays in the folder's history.",
      choices: [["mine", "Keep mine"], ["theirs", "Take theirs"]],
    });
    try {
      const now = await this.api.labelPage(page.id, { signal: this.opening.signal, onWait: () => {}, onSend: () => {} });
      if (choice === "theirs") {
        this.history.push(fromServer(now.lines));
        saver.pending = null;
        this.selected = null;
        this.#render();
      }
      saver.resolve(now.version);
      await saver.flush();
    } catch (error) {
      this.#fail(error, () => this.#settle());
    }
  }

  // --- what is shown

  /** @param {boolean} [focus]  whether the field of the selected line gets the focus */
  #render(focus = false) {
    const held = this.list.focused >= 0;
    const { lines } = this;
    this.list.show(lines.map(shown));
    this.view.lines(lines.map(drawn));
    byId("summary", HTMLElement).textContent = this.page ? (lines.length === 1 ? "1 line" : `${lines.length} lines`) : "";
    byId("next-doubt", HTMLElement).hidden = byId("legend", HTMLElement).hidden = !lines.length;
    if (this.selected !== null && (focus || held)) this.list.focus(this.selected); // selects it, too
    else this.#select(this.selected, false);
  }

  #showTools() {
    const at = this.selected;
    const none = at === null || !this.lines[at];
    byId("undo", HTMLButtonElement).disabled = !this.history.canUndo;
    byId("redo", HTMLButtonElement).disabled = !this.history.canRedo;
    byId("delete-line", HTMLButtonElement).disabled = none;
    byId("line-up", HTMLButtonElement).disabled = none || at === 0;
    byId("line-down", HTMLButtonElement).disabled = none || at === this.lines.length - 1;
    for (const id of ["draw-line", "add-line", "save"]) byId(id, HTMLButtonElement).disabled = !this.page;
  }

  /** @param {number | null} index */
  #hover(index) {
    this.view.hover(index);
    this.list.hover(index);
  }

  /**
   * @param {number | null} index
   * @param {boolean} [follow]  whether the line is brought into view
   */
  #select(index, follow = true) {
    this.selected = index;
    this.view.select(index, follow);
    this.list.select(index);
    this.baselines.show(index === null ? [] : (this.lines[index]?.baseline ?? []), (index ?? 0) + 1);
    this.#showTools();
  }

  #nextDoubt() {
    if (!this.list.focusLevel("unsure", this.selected ?? -1)) this.screen.say("No uncertain line is left");
  }
}
