// @ts-check
/** Baselines on the picture: points to move, and a new baseline to draw. */

import { draw, make } from "./dom.js";
import { withPoint } from "./label_lines.js";
import { pairs } from "./view.js";

/** @import { PictureView } from "./view.js" */
/** @import { Point } from "./types.js" */

const FAR = 10; // pixels of a step with Shift

/** @type {Record<string, Point>} */
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class BaselineEditor {
  /**
   * @param {PictureView} view
   * @param {object} events
   * @param {(baseline: Point[], done: boolean) => void} events.onMove  `done` is false while a point is being dragged
   * @param {(baseline: Point[]) => void} events.onDraw
   * @param {(drawing: boolean, count: number) => void} events.onDrawing
   */
  constructor(view, events) {
    this.view = view;
    this.events = events;
    this.layer = make("div", { class: "handles" });
    view.sheet.append(this.layer);
    /** @type {Point[]} the baseline whose points can be moved */
    this.points = [];
    /** @type {Point[] | null} the baseline that is being drawn; null if none is */
    this.drawn = null;
    this.preview = draw("polyline", { class: "preview" });
    view.sheet.addEventListener("click", (event) => this.#press(event), { capture: true });
    view.sheet.addEventListener("dblclick", (event) => {
      if (this.drawn) this.finish();
      else if (this.points.length > 1 && event.target instanceof Element && event.target.closest(".selected")) {
        this.#commit(withPoint(this.points, view.pointAt(event)));
      }
    });
  }

  // --- points of the selected line

  /**
   * @param {Point[]} points  empty: no line is selected
   * @param {number} number  of the line, for those who hear it
   */
  show(points, number) {
    this.points = points;
    this.number = number;
    const held = Array.from(this.layer.children).indexOf(/** @type {Element} */ (document.activeElement));
    this.layer.replaceChildren(...points.map((_, at) => this.#handle(at)));
    if (held >= 0) this.#focus(Math.min(held, points.length - 1));
  }

  /**
   * @param {number} at
   * @returns {HTMLButtonElement}
   */
  #handle(at) {
    const handle = make("button", {
      type: "button",
      class: "handle",
      "aria-label": `Point ${at + 1} of ${this.points.length} of the baseline of line ${this.number}`,
      "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Insert Delete",
    });
    this.#place(handle, this.points[at]);
    handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation(); // the picture does not move
      if (event.button === 0) handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      this.points = this.points.with(at, this.view.pointAt(event));
      this.#place(handle, this.points[at]);
      this.events.onMove(this.points, false);
    });
    handle.addEventListener("lostpointercapture", () => this.events.onMove(this.points, true));
    handle.addEventListener("keydown", (event) => this.#key(event, at));
    return handle;
  }

  /**
   * @param {HTMLElement} handle
   * @param {Point} point
   */
  #place(handle, [x, y]) {
    const { width, height } = this.view.size;
    handle.style.left = `${(100 * (x + 0.5)) / width}%`;
    handle.style.top = `${(100 * (y + 0.5)) / height}%`;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} at
   */
  #key(event, at) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key];
    if (step) {
      const { width, height } = this.view.size;
      const far = (event.shiftKey ? FAR : 1) * (this.view.sheet.classList.contains("turned") ? -1 : 1);
      const [x, y] = this.points[at];
      const clamp = (/** @type {number} */ value, /** @type {number} */ size) => Math.min(size - 1, Math.max(0, value));
      this.#commit(this.points.with(at, [clamp(x + far * step[0], width), clamp(y + far * step[1], height)]));
    } else if (event.key === "Delete" && this.points.length > 2) {
      this.#commit(this.points.toSpliced(at, 1));
    } else if (event.key === "Insert") {
      const other = Math.min(at, this.points.length - 2);
      const [a, b] = [this.points[other], this.points[other + 1]];
      this.#commit(this.points.toSpliced(other + 1, 0, [Math.round((a[0] + b[0]) / 2), Math.round((a[1] + b[1]) / 2)]));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {Point[]} points */
  #commit(points) {
    this.points = points;
    this.events.onMove(points, true);
  }

  /** @param {number} at */
  #focus(at) {
    const handle = this.layer.children[at];
    if (handle instanceof HTMLElement) handle.focus({ preventScroll: true });
  }

  // --- drawing a new line

  start() {
    this.drawn = [];
    this.view.root.classList.add("drawing");
    this.#draw();
  }

  /** End drawing with a line, if it has two points. */
  finish() {
    const points = this.drawn;
    this.cancel();
    if (points && points.length > 1) this.events.onDraw(points);
  }

  cancel() {
    this.drawn = null;
    this.view.root.classList.remove("drawing");
    this.preview.remove();
    this.events.onDrawing(false, 0);
  }

  /** Take the last point back. */
  back() {
    this.drawn = this.drawn?.slice(0, -1) ?? null;
    this.#draw();
  }

  /** @param {MouseEvent} event */
  #press(event) {
    if (!this.drawn || this.view.dragged) return;
    event.stopPropagation(); // it selects no line
    const point = this.view.pointAt(event);
    const last = this.drawn[this.drawn.length - 1];
    // the second press of a double click is at the same place
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) > 3) this.drawn = [...this.drawn, point];
    this.#draw();
  }

  #draw() {
    if (!this.drawn) return;
    const one = this.drawn.length === 1; // a point alone would not be seen
    this.preview.setAttribute("points", pairs(one ? [this.drawn[0], this.drawn[0]] : this.drawn));
    this.view.svg.append(this.preview);
    this.events.onDrawing(true, this.drawn.length);
  }
}
