// @ts-check
/** The shortcuts of label mode. */

/** Key and what it does, as the list of shortcuts shows them. */
export const KEYS = [
  ["Enter, ↓", "Next line"],
  ["Shift Enter, ↑", "Previous line"],
  ["Alt Enter", "Add a line below"],
  ["Alt ↑, Alt ↓", "Move the line up, down"],
  ["Alt Delete", "Delete the line"],
  ["Ctrl Z", "Undo"],
  ["Ctrl Shift Z", "Redo"],
  ["Ctrl S", "Save now"],
  ["Alt Page Down", "Next page of the folder"],
  ["Alt Page Up", "Previous page of the folder"],
  ["↑ ↓ ← →", "Move a point of the baseline, with Shift by ten pixels"],
  ["Insert, Delete", "Add or remove a point of the baseline"],
  ["+  −", "Zoom, while the picture has the focus"],
  ["0, 1", "Show the whole page, its width, while the picture has the focus"],
  ["Esc", "Leave the field, or stop drawing"],
];

/** @typedef {"save" | "undo" | "redo" | "up" | "down" | "add" | "delete" | "next" | "previous"} Command */

/** @type {Record<string, Command>} */
const WITH_ALT = { ArrowUp: "up", ArrowDown: "down", Enter: "add", Delete: "delete", PageDown: "next", PageUp: "previous" };
/** @type {Record<string, Command>} */
const WITH_CONTROL = { s: "save", y: "redo", z: "undo" };

/**
 * What a key asks for, wherever the focus is.
 *
 * @param {KeyboardEvent} event
 * @returns {Command | null}
 */
export function commandOf(event) {
  const control = event.ctrlKey || event.metaKey;
  if (event.altKey) return control ? null : (WITH_ALT[event.key] ?? null);
  if (!control) return null;
  const key = event.key.toLowerCase();
  return key === "z" && event.shiftKey ? "redo" : (WITH_CONTROL[key] ?? null);
}
