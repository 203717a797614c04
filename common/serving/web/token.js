// @ts-check
/** The token of a server that asks for one. It is kept in the tab and is gone when the tab is closed. */

import { byId, onPress } from "./dom.js";

const KEY = "fourhands.token";

export class Tokens {
  constructor() {
    this.dialog = byId("token-dialog", HTMLDialogElement);
    this.input = byId("token-input", HTMLInputElement);
    this.wrong = byId("token-wrong", HTMLElement);
    /** @type {Promise<boolean> | null} */
    this.asking = null;
    byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.dialog.close(this.input.value.trim());
    });
    onPress("token-cancel", () => this.dialog.close(""));
  }

  /** @returns {string} the token; empty if there is none */
  get current() {
    try {
      return sessionStorage.getItem(KEY) ?? "";
    } catch {
      return this.fallback ?? ""; // a browser without storage
    }
  }

  /**
   * Ask the person for a token.
   *
   * @param {string} refused  the token that the server did not accept; empty if none was sent
   * @returns {Promise<boolean>} whether there is a new one; false if the person cancelled
   */
  ask(refused) {
    if (refused !== this.current) return Promise.resolve(true); // another request asked meanwhile
    this.asking ??= this.#open(refused).finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  /**
   * @param {string} refused
   * @returns {Promise<boolean>}
   */
  #open(refused) {
    this.wrong.textContent = refused ? "The server did not accept this token." : "";
    this.input.value = "";
    this.dialog.returnValue = "";
    this.dialog.showModal();
    return new Promise((resolve) => {
      this.dialog.addEventListener("close", () => {
        const token = this.dialog.returnValue;
        if (token) this.#keep(token);
        resolve(token !== "");
      }, { once: true });
    });
  }

  /** @param {string} token */
  #keep(token) {
    try {
      sessionStorage.setItem(KEY, token);
    } catch {
      this.fallback = token;
    }
  }
}
