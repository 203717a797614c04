// @ts-check
/** A question in a dialog. */

import { make } from "./dom.js";

/**
 * Ask a person to choose.
 *
 * @template {string} T
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.words
 * @param {[choice: T, words: string][]} question.choices  the first is the one that loses nothing; Esc takes it
 * @returns {Promise<T>}
 */
export function ask({ title, words, choices }) {
  const heading = make("h2", { id: "ask-heading" }, title);
  const buttons = make("p", { class: "buttons" });
  const dialog = make("dialog", { "aria-labelledby": "ask-heading" }, heading, make("p", {}, words), buttons);
  choices.forEach(([choice, said], index) => {
    const button = make("button", { type: "button", class: index ? "" : "primary" }, said);
    button.addEventListener("click", () => dialog.close(choice));
    buttons.append(button);
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const chosen = choices.find(([choice]) => choice === dialog.returnValue) ?? choices[0];
      dialog.remove();
      resolve(chosen[0]);
    }, { once: true });
  });
}
