// @ts-check
/**
 * The picture with its lines drawn over it. What the browser cannot show (PDF, TIFF, HEIC) is drawn instead: the text of
 * each line at its place on blank paper of the page's size.
 */

import { draw, make } from "./dom.js";

/** @import { Level } from "./confidence.js" */
/** @import { Point } from "./types.js" */

/**
 * @typedef {object} DrawnLine
 * @property {Level} level
 * @property {string} text
 * @property {Point[]} baseline
 * @property {Point[]} outline
 *
 * @typedef {object} Sheet
 * @property {string | null} url  of the picture; null draws blank paper
 * @property {number} width  pixels of the picture, to which the lines refer; 0 takes the picture's own
 * @property {number} height
 * @property {boolean} turned  whether it is shown upside down
 * @property {string} name
 */

const LARGEST = 8; // times the width of the view
const STEP = 1.3;
const CLICK = 4; // CSS pixels: a pointer that moves less has clicked
const ALIKE = 0.02; // relative difference of aspect ratios at which a picture is taken for the page that was read

export class PictureView {
  /**
   * @param {HTMLElement} root  scrolls
   * @param {{onHover: (index: number | null) => void, onSelect: (index: number) => void}} events
   */
  constructor(root, events) {
    this.root = root;
    this.events = events;
    this.image = make("img", { alt: "", draggable: "false" });
    this.svg = draw("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
    this.sheet = make("div", { class: "sheet", hidden: true }, this.image, this.svg);
    root.replaceChildren(this.sheet);
    /** Times the size at which the sheet is as wide as the view. */
    this.zoom = 1;
    /** Pixels of the picture. */
    this.size = { width: 0, height: 0 };
    /** @type {SVGGElement[]} */
    this.groups = [];
    this.paper = false;
    this.shown = 0;
    new ResizeObserver(() => this.#layout()).observe(root);
    this.#listen();
  }

  /**
   * Show a picture, without lines.
   *
   * @param {Sheet} sheet
   * @returns {Promise<"picture" | "paper" | "nothing">} what the person sees: nothing if neither the browser knows the
   *   picture nor the service has said how large it is
   */
  async show({ url, width, height, turned, name }) {
    const call = (this.shown += 1);
    this.zoom = 1;
    this.lines([]);
    const own = url === null ? null : await this.#load(url);
    if (call !== this.shown) return "nothing"; // another one was asked for meanwhile
    const known = width > 0;
    const same = own !== null && (!known || Math.abs((own.width * height) / (own.height * width) - 1) < ALIKE);
    this.paper = !same;
    this.size = known ? { width, height } : (own ?? { width: 0, height: 0 });
    this.image.hidden = !same;
    this.image.alt = same ? name : "";
    if (!same) this.image.removeAttribute("src");
    this.sheet.hidden = this.size.width === 0;
    this.sheet.classList.toggle("paper", this.paper);
    this.sheet.classList.toggle("turned", turned);
    this.svg.setAttribute("viewBox", `0 0 ${this.size.width} ${this.size.height}`);
    this.#layout();
    this.root.scrollTo(0, 0);
    if (this.sheet.hidden) return "nothing";
    return same ? "picture" : "paper";
  }

  /**
   * @param {string} url
   * @returns {Promise<{width: number, height: number} | null>} null if the browser cannot show it
   */
  async #load(url) {
    if (this.image.getAttribute("src") !== url) this.image.src = url;
    try {
      await this.image.decode();
    } catch {
      return null;
    }
    const { naturalWidth: width, naturalHeight: height } = this.image;
    return width && height ? { width, height } : null;
  }

  /** @param {DrawnLine[]} lines */
  lines(lines) {
    this.groups = lines.map((line, index) => {
      const group = draw("g", { class: "line", "data-level": line.level });
      if (line.outline.length > 2) group.append(draw("polygon", { class: "outline", points: pairs(line.outline) }));
      if (line.baseline.length > 1) {
        group.append(draw("polyline", { class: "reach", points: pairs(line.baseline) }));
        group.append(draw("polyline", { class: "halo", points: pairs(line.baseline) }));
        group.append(draw("polyline", { class: "baseline", points: pairs(line.baseline) }));
      }
      if (this.paper) group.append(written(line));
      group.addEventListener("pointerenter", () => this.events.onHover(index));
      group.addEventListener("pointerleave", () => this.events.onHover(null));
      group.addEventListener("click", () => this.dragged || this.events.onSelect(index));
      return group;
    });
    this.svg.replaceChildren(...this.groups);
  }

  /**
   * @param {number} index
   * @param {DrawnLine} line  with a changed text or level
   */
  redraw(index, line) {
    const group = this.groups[index];
    group.dataset.level = line.level;
    group.querySelector("text")?.replaceWith(written(line));
  }

  /** @param {number | null} index  line under the pointer */
  hover(index) {
    this.groups.forEach((group, at) => group.classList.toggle("hover", at === index));
  }

  /**
   * @param {number} index
   * @param {Point[]} points  of its baseline, while it is dragged
   */
  moveBaseline(index, points) {
    for (const drawn of this.groups[index].querySelectorAll("polyline")) drawn.setAttribute("points", pairs(points));
  }

  /**
   * @param {number | null} index  line that is being edited
   * @param {boolean} [follow]  whether it is brought into view
   */
  select(index, follow = true) {
    this.groups.forEach((group, at) => group.classList.toggle("selected", at === index));
    if (index === null || !follow || !this.groups[index]) return;
    const group = this.groups[index];
    const line = group.getBoundingClientRect();
    const seen = this.root.getBoundingClientRect();
    const margin = Math.min(40, seen.height / 6);
    let [left, top] = [0, 0];
    if (line.top < seen.top + margin || line.bottom > seen.bottom - margin) {
      top = (line.top + line.bottom) / 2 - (seen.top + seen.bottom) / 2;
    }
    if (line.left < seen.left || line.right > seen.right) left = line.left - seen.left - 12; // where it begins
    if (left || top) this.root.scrollBy({ left, top, behavior: calm() ? "instant" : "smooth" });
  }

  /**
   * @param {number} factor
   * @param {{x: number, y: number}} [at]  point of the window that stays; without it, the middle
   */
  zoomBy(factor, at) {
    const box = this.root.getBoundingClientRect();
    const x = (at?.x ?? box.left + box.width / 2) - box.left;
    const y = (at?.y ?? box.top + box.height / 2) - box.top;
    const before = this.zoom;
    this.zoom = Math.min(LARGEST, Math.max(this.#whole(), this.zoom * factor));
    const grown = this.zoom / before;
    const [left, top] = [(this.root.scrollLeft + x) * grown - x, (this.root.scrollTop + y) * grown - y];
    this.#layout();
    this.root.scrollTo({ left, top, behavior: "instant" });
  }

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  fitWidth() {
    this.zoomBy(1 / this.zoom);
  }

  fitPage() {
    this.zoomBy(this.#whole() / this.zoom);
  }

  /** The zoom at which the whole sheet is seen; at most 1. */
  #whole() {
    const { clientWidth, clientHeight } = this.root;
    const { width, height } = this.size;
    return width && clientHeight ? Math.min(1, (clientHeight * width) / (height * clientWidth)) : 1;
  }

  /**
   * The point of the picture at a point of the window.
   *
   * @param {{clientX: number, clientY: number}} event
   * @returns {Point}
   */
  pointAt(event) {
    const box = this.sheet.getBoundingClientRect();
    let [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (this.sheet.classList.contains("turned")) [x, y] = [1 - x, 1 - y];
    const inside = (/** @type {number} */ part, /** @type {number} */ size) => Math.min(size - 1, Math.max(0, Math.round(part * size)));
    return [inside(x, this.size.width), inside(y, this.size.height)];
  }

  #layout() {
    const { width, height } = this.size;
    if (!width || !height) return;
    this.sheet.style.width = `${Math.floor(this.root.clientWidth * this.zoom)}px`;
    this.sheet.style.aspectRatio = `${width} / ${height}`;
  }

  #listen() {
    const { root } = this;
    root.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a pinch on a touchpad comes as a wheel with Ctrl
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 300), { x: event.clientX, y: event.clientY });
    }, { passive: false });
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target !== root) return;
      if (event.key === "+" || event.key === "=") this.zoomIn();
      else if (event.key === "-") this.zoomOut();
      else if (event.key === "0") this.fitPage();
      else if (event.key === "1") this.fitWidth();
      else return;
      event.preventDefault();
    });
    this.#pan();
    this.#pinch();
  }

  #pan() {
    const { root } = this;
    /** Whether the last press of the pointer moved the sheet: then it was no click. */
    this.dragged = false;
    /** @type {{x: number, y: number} | null} */
    let last = null;
    root.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (event.pointerType === "mouse" && event.button === 0) last = { x: event.clientX, y: event.clientY };
    });
    root.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
      if (!this.dragged && Math.hypot(dx, dy) < CLICK) return;
      if (!this.dragged) root.setPointerCapture(event.pointerId);
      this.dragged = true;
      root.scrollBy({ left: -dx, top: -dy, behavior: "instant" });
      last = { x: event.clientX, y: event.clientY };
    });
    const stop = () => {
      last = null;
    };
    root.addEventListener("pointerup", stop);
    root.addEventListener("pointercancel", stop);
  }

  #pinch() {
    let apart = 0;
    const gap = (/** @type {TouchList} */ touches) => Math.hypot(touches[0].clientX - touches[1].clientX, touches[0].clientY - touches[1].clientY);
    this.root.addEventListener("touchstart", ({ touches }) => {
      apart = touches.length === 2 ? gap(touches) : 0;
    }, { passive: true });
    this.root.addEventListener("touchmove", (event) => {
      const { touches } = event;
      if (touches.length !== 2 || !apart) return;
      event.preventDefault();
      const now = gap(touches);
      const middle = { x: (touches[0].clientX + touches[1].clientX) / 2, y: (touches[0].clientY + touches[1].clientY) / 2 };
      this.zoomBy(now / apart, middle);
      apart = now;
    }, { passive: false });
  }
}

/** Whether the person asked for less movement. */
export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** @param {Point[]} points */
export function pairs(points) {
  return points.map((point) => point.join(",")).join(" ");
}

/**
 * The text of a line on its baseline, as long as the line.
 *
 * @param {DrawnLine} line
 * @returns {SVGTextElement}
 */
function written({ text, baseline, outline }) {
  const heights = outline.map((point) => point[1]);
  const [top, bottom] = [Math.min(...heights), Math.max(...heights)];
  const left = Math.min(...outline.map((point) => point[0]));
  const [first, last] = baseline.length > 1
    ? [baseline[0], baseline[baseline.length - 1]]
    : [[left, top + 0.75 * (bottom - top)], [Math.max(...outline.map((point) => point[0])), top + 0.75 * (bottom - top)]];
  const length = Math.hypot(last[0] - first[0], last[1] - first[1]);
  const angle = (Math.atan2(last[1] - first[1], last[0] - first[0]) * 180) / Math.PI;
  const size = Math.max(8, Math.min(0.55 * (bottom - top), (2 * length) / Math.max(1, text.length)));
  return draw("text", {
    x: first[0],
    y: first[1],
    "font-size": size.toFixed(1),
    textLength: length.toFixed(1),
    lengthAdjust: "spacingAndGlyphs",
    transform: `rotate(${angle.toFixed(2)} ${first[0]} ${first[1]})`,
  }, text);
}
