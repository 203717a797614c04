// @ts-check
/** The pages of the folder that is labelled: which there are, their states, and which one is open. */

import { byId, make, onPress } from "./dom.js";
import { hasDraft } from "./drafts.js";

/** @import { LabelEntry } from "./api.js" */

const SIGNS = { new: "○", corrected: "✓" };

export class Folder {
  /**
   * @param {object} events
   * @param {(index: number) => void} events.onOpen
   * @param {() => void} events.onNoneLeft  told when there is no other page that is new
   */
  constructor({ onOpen, onNoneLeft }) {
    /** @type {LabelEntry[]} */
    this.entries = [];
    /** Index of the page that is open; -1 if none is. */
    this.at = -1;
    this.choice = byId("page-choice", HTMLSelectElement);
    this.before = onPress("previous", () => onOpen(this.at - 1));
    this.after = onPress("next", () => onOpen(this.at + 1));
    this.choice.addEventListener("change", () => onOpen(this.choice.selectedIndex));
    onPress("next-new", () => {
      const next = this.#next();
      if (next === undefined) onNoneLeft();
      else onOpen(next);
    });
  }

  /** @returns {LabelEntry | undefined} the page that is open */
  get current() {
    return this.entries[this.at];
  }

  /** The page to begin with: the one that the address names, else the first new one, else the first. */
  get first() {
    const named = this.entries.findIndex(({ id }) => `#${id}` === location.hash);
    const unread = this.entries.findIndex(({ state }) => state === "new");
    return named >= 0 ? named : Math.max(0, unread);
  }

  show() {
    this.choice.replaceChildren(...this.entries.map(({ name, state }, index) => {
      const words = hasDraft(name) ? "! not saved" : `${SIGNS[state] ?? ""} ${state}`;
      return make("option", { selected: index === this.at }, `${index + 1}. ${name} (${words})`);
    }));
    const done = this.entries.filter(({ state }) => state === "corrected").length;
    byId("folder-count", HTMLElement).textContent = `${done} of ${this.entries.length} corrected`;
    this.before.disabled = this.at <= 0;
    this.after.disabled = this.at >= this.entries.length - 1;
  }

  /** @returns {number | undefined} the next page that is new, from the first again after the last */
  #next() {
    const count = this.entries.length;
    const order = Array.from({ length: count }, (_, step) => (this.at + 1 + step) % count);
    return order.find((index) => this.entries[index].state === "new" && index !== this.at);
  }
}
