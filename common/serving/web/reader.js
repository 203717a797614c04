// @ts-check
/** Reading pictures: they wait in a queue, are read one after the other, and are shown with their text. */

import { isAbort } from "./api.js";
import { corrected, levelOf } from "./confidence.js";
import { byId, isTyping, onPress } from "./dom.js";
import { prepared } from "./files.js";
import { copy, correctedReading, plainText, save, stem } from "./downloads.js";
import { LineList } from "./lines.js";
import { Problem } from "./problem.js";
import { Screen } from "./screen.js";
import { PictureView } from "./view.js";

/** @import { Api } from "./api.js" */
/** @import { Answer, Reading } from "./types.js" */

/**
 * @typedef {object} Page
 * @property {Reading} reading  as it was read
 * @property {string[]} texts  of its lines, as they are now
 *
 * @typedef {object} Picture  a file that was added
 * @property {File} file
 * @property {string} url  under which the browser may show it
 * @property {"waiting" | "reading" | "read" | "failed" | "cancelled"} state
 * @property {Page[]} pages
 * @property {number} at  index of the page that is shown
 * @property {Problem | null} problem
 * @property {Answer | null} answer
 * @property {AbortController | null} work
 */

const KEYS = [
  ["Enter, ↓", "Next line"],
  ["Shift Enter, ↑", "Previous line"],
  ["Esc", "Leave the field, or cancel reading"],
  ["+  −", "Zoom, while the picture has the focus"],
  ["0, 1", "Show the whole page, its width, while the picture has the focus"],
  ["↑ ↓ ← →", "Move the picture, while it has the focus"],
  ["Ctrl V", "Add a picture from the clipboard"],
];

/** @param {Api} api */
export function startReading(api) {
  new ReaderPage(api).start();
}

class ReaderPage {
  /** @param {Api} api */
  constructor(api) {
    this.api = api;
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {Picture | null} */
    this.current = null;
    this.busy = false;
    /** Corrections that were neither copied nor downloaded. */
    this.unkept = false;
    this.lastSelected = -1;
    this.screen = new Screen(KEYS);
    this.files = byId("files", HTMLInputElement);
    this.camera = byId("camera", HTMLInputElement);
    this.view = new PictureView(byId("view", HTMLElement), {
      onHover: (index) => this.#hover(index),
      onSelect: (index) => this.list.focus(index),
    });
    this.list = new LineList(byId("lines", HTMLOListElement), {
      onInput: (index, text) => this.#edit(index, text),
      onFocus: (index) => this.#select(index),
      onBlur: () => this.#select(null),
      onHover: (index) => this.#hover(index),
      onReset: (index) => this.#edit(index, this.page?.reading.lines[index].text ?? ""),
    });
  }

  start() {
    onPress("choose", () => this.files.click());
    onPress("add", () => this.files.click());
    onPress("photograph", () => this.camera.click());
    for (const input of [this.files, this.camera]) {
      input.addEventListener("change", () => {
        this.#add(Array.from(input.files ?? []));
        input.value = ""; // so that the same file can be chosen again
      });
    }
    this.#acceptDrops();
    document.addEventListener("paste", (event) => {
      const files = Array.from(event.clipboardData?.files ?? []);
      if (!files.length) return;
      event.preventDefault();
      this.#add(files);
    });
    onPress("cancel", () => this.current?.work?.abort());
    onPress("page-before", () => this.#turn(-1));
    onPress("page-after", () => this.#turn(1));
    onPress("zoom-in", () => this.view.zoomIn());
    onPress("zoom-out", () => this.view.zoomOut());
    onPress("zoom-width", () => this.view.fitWidth());
    onPress("zoom-page", () => this.view.fitPage());
    onPress("copy", () => this.#copy());
    onPress("reset", () => this.#resetAll());
    onPress("next-doubt", () => this.#nextDoubt());
    for (const button of document.querySelectorAll("[data-format]")) {
      button.addEventListener("click", () => void this.#download(button.getAttribute("data-format") ?? ""));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !isTyping() && !document.querySelector("dialog[open]")) this.current?.work?.abort();
    });
    addEventListener("beforeunload", (event) => {
      if (this.unkept) event.preventDefault();
    });
    byId("start", HTMLElement).hidden = false;
  }

  #acceptDrops() {
    document.addEventListener("dragover", (event) => {
      event.preventDefault(); // or the browser would open the file in place of the page
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      const files = Array.from(event.dataTransfer?.files ?? []);
      if (files.length) this.#add(files);
      else this.screen.say("That was no file. Save the picture first, then drop its file");
    });
  }

  /** @returns {Page | null} the page that is shown */
  get page() {
    return this.current?.pages[this.current.at] ?? null;
  }

  // --- the queue

  /** @param {File[]} files */
  #add(files) {
    if (!files.length) return;
    const added = files.map((file) => /** @type {Picture} */ ({
      file, url: URL.createObjectURL(file), state: "waiting", pages: [], at: 0, problem: null, answer: null, work: null,
    }));
    this.pictures.push(...added);
    void this.#show(added[0]);
    void this.#work();
  }

  /** Read the waiting pictures, one after the other. */
  async #work() {
    if (this.busy) return;
    this.busy = true;
    for (let next; (next = this.pictures.find(({ state }) => state === "waiting")); ) await this.#read(next);
    this.busy = false;
  }

  /** @param {Picture} picture */
  async #read(picture) {
    picture.state = "reading";
    picture.work = new AbortController();
    this.#refresh(picture);
    try {
      picture.answer = await this.api.read(await prepared(picture.file), {
        signal: picture.work.signal,
        onWait: ({ seconds, attempt, tries }) => {
          if (picture === this.current) this.screen.count(`The server is busy. Try ${attempt} of ${tries} in`, seconds);
        },
        onSend: () => this.#refresh(picture),
      });
      picture.pages = picture.answer.readings.map((reading) => ({ reading, texts: reading.lines.map((line) => line.text) }));
      picture.state = "read";
    } catch (error) {
      picture.state = isAbort(error) ? "cancelled" : "failed";
      if (!isAbort(error) && !(error instanceof Problem)) throw error;
      picture.problem = error instanceof Problem ? error : null;
    } finally {
      picture.work = null;
    }
    this.#shelf();
    if (picture === this.current) await this.#show(picture);
  }

  /** @param {Picture} picture */
  #again(picture) {
    Object.assign(picture, { state: "waiting", problem: null });
    void this.#show(picture);
    void this.#work();
  }

  /** @param {Picture} picture */
  #remove(picture) {
    picture.work?.abort();
    URL.revokeObjectURL(picture.url);
    const index = this.pictures.indexOf(picture);
    this.pictures.splice(index, 1);
    const other = this.pictures[Math.min(index, this.pictures.length - 1)];
    if (!other) {
      this.current = null;
      this.unkept = false;
      this.screen.showStart();
    } else if (picture === this.current) void this.#show(other);
    else this.#shelf();
  }

  // --- what is shown

  /** @param {Picture} picture */
  async #show(picture) {
    this.current = picture;
    this.lastSelected = -1;
    this.screen.showWork();
    this.#refresh(picture);
    const { page } = this;
    const lines = page?.reading.lines ?? [];
    this.list.show(lines.map((_, index) => this.#shown(index)));
    this.screen.reading(page?.reading ?? null, picture.answer);
    this.screen.corrected(page !== null && isCorrected(page));
    this.screen.pages(picture.at, picture.pages.length);
    const several = picture.pages.length > 1;
    const seen = await this.view.show({
      url: several ? null : picture.url, // the browser shows the first page of a TIFF at most
      width: page?.reading.width ?? 0,
      height: page?.reading.height ?? 0,
      turned: page?.reading.upside_down ?? false,
      name: picture.file.name,
    });
    if (this.page !== page || this.current !== picture) return;
    this.view.lines(lines.map((_, index) => this.#drawn(index)));
    this.screen.explain(seen, page?.reading ?? null);
  }

  /** @param {Picture} picture */
  #refresh(picture) {
    this.#shelf();
    if (picture === this.current) {
      this.screen.state(picture.state, picture.file.name);
      this.screen.problem(picture.problem, () => this.#again(picture), () => this.#remove(picture));
    }
  }

  #shelf() {
    this.screen.shelf(
      this.pictures.map((picture) => ({ name: picture.file.name || "picture", state: picture.state, current: picture === this.current })),
      (index) => void this.#show(this.pictures[index]),
      (index) => this.#remove(this.pictures[index]),
    );
  }

  /** @param {number} step */
  #turn(step) {
    if (!this.current) return;
    this.current.at = Math.min(this.current.pages.length - 1, Math.max(0, this.current.at + step));
    void this.#show(this.current);
  }

  /** @param {number} index */
  #shown(index) {
    const { reading, texts } = /** @type {Page} */ (this.page);
    const line = reading.lines[index];
    const changed = texts[index] !== line.text;
    const characters = changed ? corrected(line, texts[index]) : line.characters;
    return { text: texts[index], characters, confidence: changed ? null : line.confidence, changed };
  }

  /** @param {number} index */
  #drawn(index) {
    const { reading } = /** @type {Page} */ (this.page);
    const { text, confidence } = this.#shown(index);
    const { baseline, outline } = reading.lines[index];
    return { level: levelOf(confidence), text, baseline, outline };
  }

  /** @param {number | null} index */
  #hover(index) {
    this.view.hover(index);
    this.list.hover(index);
  }

  /** @param {number | null} index */
  #select(index) {
    if (index !== null) this.lastSelected = index;
    this.view.select(index);
    this.list.select(index);
  }

  // --- correcting

  /**
   * @param {number} index
   * @param {string} text
   */
  #edit(index, text) {
    const { page } = this;
    if (!page) return;
    page.texts[index] = text;
    this.unkept = true;
    this.list.update(index, this.#shown(index));
    this.view.redraw(index, this.#drawn(index));
    this.screen.corrected(isCorrected(page));
  }

  #resetAll() {
    this.page?.reading.lines.forEach((line, index) => this.#edit(index, line.text));
    this.unkept = this.pictures.some(({ pages }) => pages.some(isCorrected));
    this.screen.say("All corrections of this page are undone");
    byId("text-heading", HTMLElement).focus(); // the button is gone
  }

  #nextDoubt() {
    if (!this.list.focusLevel("unsure", this.lastSelected)) this.screen.say("No uncertain line is left");
  }

  // --- taking it away

  async #copy() {
    if (!this.current) return;
    try {
      await copy(plainText(this.current.pages.map(({ texts }) => texts)));
      this.unkept = false;
      this.screen.say("The text is on the clipboard");
    } catch {
      this.screen.say("The browser did not allow copying. Download the text instead");
    }
  }

  /** @param {string} format */
  async #download(format) {
    const { current: picture, page } = this;
    if (!picture || !page) return;
    const name = stem(picture.file.name);
    const pages = picture.pages.map(({ reading, texts }) => correctedReading(reading, texts));
    try {
      if (format === "text") {
        save(new Blob([plainText(picture.pages.map(({ texts }) => texts))], { type: "text/plain" }), `${name}.txt`);
      } else if (format === "json") {
        const { model } = picture.answer ?? { model: "" };
        const whole = pages.length > 1 ? { pages, model } : { ...pages[0], model };
        save(new Blob([`${JSON.stringify(whole, null, 1)}\n`], { type: "application/json" }), `${name}.json`);
      } else {
        const number = pages.length > 1 ? `_${picture.at + 1}` : "";
        const content = await this.api.render(pages[picture.at], format === "alto" ? "alto" : "page");
        save(content, `${name}${number}.${format}.xml`);
      }
      this.unkept = false;
      this.screen.say("The file is downloaded");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.screen.problem(error, () => void this.#download(format), null);
    }
  }
}

/** @param {Page} page */
function isCorrected({ reading, texts }) {
  return reading.lines.some((line, index) => line.text !== texts[index]);
}
