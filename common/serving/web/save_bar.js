// @ts-check
/** What the page says about saving. */

import { byId, make } from "./dom.js";

/** @import { SaveState } from "./saver.js" */

/** @type {Record<SaveState | "proposed", [sign: string, words: string]>} */
const SAID = {
  proposed: ["○", "Proposed by the reader"],
  saved: ["✓", "Saved"],
  unsaved: ["●", "Not saved yet"],
  saving: ["↻", "Saving"],
  conflict: ["!", "Not saved: somebody else saved this page"],
  failed: ["!", "Not saved. This browser keeps your work"],
};

/** @param {keyof typeof SAID} state  `proposed`: nobody has corrected or saved the page yet */
export function showSaved(state) {
  const [sign, words] = SAID[state];
  const element = byId("saved", HTMLElement);
  element.dataset.state = state;
  element.replaceChildren(make("span", { class: "sign", "aria-hidden": "true" }, sign), ` ${words}`);
  byId("save", HTMLButtonElement).textContent = state === "proposed" ? "Save as correct" : "Save";
}
