// @ts-check
/**
 * Unsaved work of label mode. Each edit is kept in this browser until the server has it, so that nothing is lost if the
 * server or the browser ends.
 */

/** @import { LabelLine } from "./label_lines.js" */

/**
 * @typedef {object} Draft
 * @property {string} version  of the page that was corrected
 * @property {number} width  of the picture: another one with the same name is told apart
 * @property {number} height
 * @property {number} time  milliseconds since 1970
 * @property {LabelLine[]} lines
 */

const PREFIX = "fourhands.label.";

/**
 * @param {string} name  of the page
 * @param {Draft} draft
 * @returns {boolean} whether the browser kept it
 */
export function keepDraft(name, draft) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(draft));
    return true;
  } catch {
    return false; // full, or switched off
  }
}

/**
 * @param {string} name
 * @param {{width: number, height: number}} page
 * @returns {Draft | null} null if there is none that fits the page
 */
export function draftOf(name, page) {
  try {
    const draft = JSON.parse(localStorage.getItem(PREFIX + name) ?? "null");
    const fits = draft?.width === page.width && draft.height === page.height && Array.isArray(draft.lines);
    return fits ? draft : null;
  } catch {
    return null;
  }
}

/** @param {string} name */
export function hasDraft(name) {
  try {
    return localStorage.getItem(PREFIX + name) !== null;
  } catch {
    return false;
  }
}

/** @param {string} name */
export function dropDraft(name) {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // nothing was kept either
  }
}
