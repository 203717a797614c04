// @ts-check
/** The lines of a page that is labelled. Each change makes a new list, so that a step back is the old list. */

import { corrected, levelOf } from "./confidence.js";

/** @import { ShownLine } from "./lines.js" */
/** @import { Line, Point } from "./types.js" */
/** @import { DrawnLine } from "./view.js" */

/**
 * @typedef {object} LabelLine
 * @property {string} text
 * @property {Point[]} baseline
 * @property {Point[] | null} outline  null: the server makes one around the baseline
 * @property {Line | null} source  the line as the server answered it; null if the person added it
 */

/** @typedef {readonly LabelLine[]} Lines */

/**
 * @param {Line[]} lines
 * @returns {Lines}
 */
export function fromServer(lines) {
  return lines.map((line) => ({
    text: line.text,
    baseline: line.baseline,
    outline: line.outline.length ? line.outline : null,
    source: line,
  }));
}

/**
 * The lines as the server takes them.
 *
 * @param {Lines} lines
 */
export function forServer(lines) {
  return lines.map(({ text, baseline, outline }) => (outline ? { text, baseline, outline } : { text, baseline }));
}

/**
 * @param {Lines} lines
 * @param {number} index
 * @param {string} text
 * @returns {Lines}
 */
export function withText(lines, index, text) {
  return lines.with(index, { ...lines[index], text });
}

/**
 * A line with another baseline. Its outline no longer fits, so the server makes a new one.
 *
 * @param {Lines} lines
 * @param {number} index
 * @param {Point[]} baseline
 * @returns {Lines}
 */
export function withBaseline(lines, index, baseline) {
  return lines.with(index, { ...lines[index], baseline, outline: null });
}

/**
 * @param {Lines} lines
 * @param {number} index
 * @returns {Lines}
 */
export function without(lines, index) {
  return lines.toSpliced(index, 1);
}

/**
 * @param {Lines} lines
 * @param {number} from
 * @param {number} to
 * @returns {Lines}
 */
export function moved(lines, from, to) {
  return lines.toSpliced(from, 1).toSpliced(to, 0, lines[from]);
}

/**
 * A new line, from left to right, before the first line that lies lower and beside no other column.
 *
 * @param {Lines} lines
 * @param {Point[]} baseline
 * @returns {{lines: Lines, index: number}}
 */
export function withNew(lines, baseline) {
  const points = baseline[0][0] <= baseline[baseline.length - 1][0] ? baseline : baseline.toReversed();
  const [left, right] = [points[0][0], points[points.length - 1][0]];
  const y = meanHeight(points);
  const lower = lines.findIndex((line) => {
    if (!line.baseline.length || meanHeight(line.baseline) <= y) return false;
    return line.baseline[0][0] < right && line.baseline[line.baseline.length - 1][0] > left;
  });
  const index = lower < 0 ? lines.length : lower;
  return { lines: lines.toSpliced(index, 0, { text: "", baseline: points, outline: null, source: null }), index };
}

/**
 * The baseline of a line that would follow another one: shifted down by the distance between lines.
 *
 * @param {Lines} lines
 * @param {number} index  -1 if there is none yet
 * @param {{width: number, height: number}} size  of the picture
 * @returns {Point[]}
 */
export function below(lines, index, size) {
  const line = lines[index];
  if (!line?.baseline.length) {
    const y = Math.round(size.height / 10);
    return [[Math.round(size.width / 10), y], [Math.round(0.9 * size.width), y]];
  }
  const heights = lines.filter((one) => one.baseline.length).map((one) => meanHeight(one.baseline));
  const gaps = heights.slice(1).map((y, at) => y - heights[at]).filter((gap) => gap > 0).sort((a, b) => a - b);
  const step = Math.round(gaps[gaps.length >> 1] ?? size.height / 25);
  return line.baseline.map(([x, y]) => [x, Math.min(size.height - 1, y + step)]);
}

/** @param {Point[]} points */
function meanHeight(points) {
  return points.reduce((sum, point) => sum + point[1], 0) / points.length;
}

/**
 * A baseline with one more point, in the middle of its longest part or where somebody pressed.
 *
 * @param {Point[]} baseline
 * @param {Point} [at]
 * @returns {Point[]}
 */
export function withPoint(baseline, at) {
  let best = 1;
  let least = Infinity;
  for (let index = 1; index < baseline.length; index += 1) {
    const [a, b] = [baseline[index - 1], baseline[index]];
    const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
    // a point lies on the part where the way over it is the shortest
    const cost = at ? Math.hypot(at[0] - a[0], at[1] - a[1]) + Math.hypot(b[0] - at[0], b[1] - at[1]) - length : -length;
    if (cost < least) [best, least] = [index, cost];
  }
  const [a, b] = [baseline[best - 1], baseline[best]];
  return baseline.toSpliced(best, 0, at ?? [Math.round((a[0] + b[0]) / 2), Math.round((a[1] + b[1]) / 2)]);
}

/**
 * A line for the list of texts. What a person wrote has no confidence.
 *
 * @param {LabelLine} line
 * @returns {ShownLine}
 */
export function shown({ text, source }) {
  const read = source !== null && source.confidence !== null;
  const characters = read ? corrected(source, text) : Array.from(text, (one) => ({ text: one, confidence: 1 }));
  const changed = source !== null && source.text !== text;
  return { text, characters, confidence: read && !changed ? source.confidence : null, changed };
}

/**
 * A line for the picture.
 *
 * @param {LabelLine} line
 * @returns {DrawnLine}
 */
export function drawn(line) {
  const { text, baseline, outline } = line;
  return { level: levelOf(shown(line).confidence), text, baseline, outline: outline ?? [] };
}
