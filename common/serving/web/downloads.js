// @ts-check
/** Corrected readings as text, as JSON and as files to save. */

import { corrected, mean } from "./confidence.js";

/** @import { Reading } from "./types.js" */

/**
 * A reading with the texts that a person left, in the form of the service's answer.
 *
 * @param {Reading} reading  as it was read
 * @param {string[]} texts  one per line
 * @returns {Reading}
 */
export function correctedReading(reading, texts) {
  const changed = reading.lines.some((line, index) => line.text !== texts[index]);
  if (!changed) return reading;
  const lines = reading.lines.map((line, index) => {
    if (texts[index] === line.text) return line;
    const characters = corrected(line, texts[index]);
    return { ...line, text: texts[index], confidence: mean(characters), characters };
  });
  const characters = lines.flatMap((line) => line.characters);
  const row = { ...reading, text: texts.join("\n"), confidence: mean(characters), lines };
  return "character_confidences" in reading ? { ...row, character_confidences: characters.map((one) => one.confidence) } : row;
}

/**
 * The text of a document's pages, with an empty line between pages.
 *
 * @param {string[][]} pages  the texts of the lines of each page
 */
export function plainText(pages) {
  return pages.map((texts) => `${texts.join("\n")}\n`).join("\n");
}

/**
 * Save content as a file of the browser's downloads.
 *
 * @param {Blob} content
 * @param {string} name
 */
export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading it
}

/**
 * The name of a file without its suffix.
 *
 * @param {string} name
 */
export function stem(name) {
  return name.replace(/\.[^.]+$/, "") || "reading";
}

/**
 * Copy a text to the clipboard.
 *
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that did not come over https or from this machine has no clipboard
    const field = document.createElement("textarea");
    const before = document.activeElement;
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (before instanceof HTMLElement) before.focus();
    if (!done) throw new Error("the browser did not copy");
  }
}
