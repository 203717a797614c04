// @ts-check
/** Levels of confidence, and what a correction leaves of the characters' confidences. */

/** @import { Character, Line } from "./types.js" */

/** @typedef {"sure" | "check" | "unsure" | "own"} Level */

/** The least confidence of a line of each level, and the sign and the words that stand for it beside its colour. */
export const LEVELS = /** @type {const} */ ({
  sure: { least: 0.9, sign: "●", words: "sure" },
  check: { least: 0.8, sign: "◐", words: "check it" },
  unsure: { least: 0, sign: "○", words: "unsure" },
  own: { least: NaN, sign: "✓", words: "corrected by you" },
});

/** A character below this confidence is marked. */
const DOUBT = 0.5;

/**
 * @param {number | null} confidence  null for what a person wrote
 * @returns {Level}
 */
export function levelOf(confidence) {
  if (confidence === null) return "own";
  if (confidence >= LEVELS.sure.least) return "sure";
  return confidence >= LEVELS.check.least ? "check" : "unsure";
}

/** @param {number} confidence */
export function percent(confidence) {
  return `${Math.round(100 * confidence)}%`;
}

/** @param {Character} character */
export function isDoubtful(character) {
  return character.confidence < DOUBT && character.text.trim() !== "";
}

/**
 * The characters of a corrected text. What the correction left at both ends keeps its confidence. What a person typed
 * is certain.
 *
 * @param {Line} line  as it was read
 * @param {string} text  as it is now
 * @returns {Character[]}
 */
export function corrected(line, text) {
  const before = line.characters.flatMap(({ text, confidence }) => Array.from(text, (one) => ({ text: one, confidence })));
  const after = Array.from(text);
  if (before.map((one) => one.text).join("") !== line.text) return after.map((one) => ({ text: one, confidence: 1 }));
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head].text === after[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && before[before.length - 1 - tail].text === after[after.length - 1 - tail]) tail += 1;
  return [
    ...before.slice(0, head),
    ...after.slice(head, after.length - tail).map((one) => ({ text: one, confidence: 1 })),
    ...before.slice(before.length - tail),
  ];
}

/**
 * Mean confidence of characters; 0 if there is none, as the service counts it.
 *
 * @param {Character[]} characters
 */
export function mean(characters) {
  return characters.length ? characters.reduce((sum, one) => sum + one.confidence, 0) / characters.length : 0;
}
