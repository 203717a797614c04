// @ts-check
/** Saves a page a moment after each change, and again while the server cannot be reached. */

import { Problem } from "./problem.js";

/** @import { Lines } from "./label_lines.js" */

/** @typedef {"saved" | "unsaved" | "saving" | "conflict" | "failed"} SaveState */

const PAUSE = 1500; // milliseconds without a change
const FIRST_RETRY = 3000;
const LONGEST_RETRY = 60_000;

export class Saver {
  /**
   * @param {object} options
   * @param {string} options.version  of the page as it was answered
   * @param {(lines: Lines, version: string, leaving: boolean) => Promise<{version: string, state: string}>} options.send
   * @param {(state: SaveState, problem: Problem | null) => void} options.onState
   */
  constructor({ version, send, onState }) {
    this.version = version;
    this.send = send;
    this.onState = onState;
    /** @type {Lines | null} what the server does not have yet */
    this.pending = null;
    /** @type {SaveState} */
    this.state = "saved";
    /** @type {Promise<void> | null} */
    this.running = null;
    this.timer = 0;
    this.retry = FIRST_RETRY;
    /** Whether the server could not be reached and is asked again later. */
    this.retrying = false;
  }

  /**
   * Save these lines after a pause.
   *
   * @param {Lines} lines
   */
  changed(lines) {
    this.pending = lines;
    // in a conflict the person decides first; the others will look for what is pending
    if (this.state === "conflict" || this.state === "saving" || this.retrying) return;
    this.#tell("unsaved");
    this.#later(PAUSE);
  }

  /**
   * Save now.
   *
   * @param {boolean} [leaving]  whether the tab may close before the answer comes
   * @returns {Promise<boolean>} whether the server has everything
   */
  async flush(leaving = false) {
    clearTimeout(this.timer);
    while (this.pending && this.state !== "conflict") {
      this.running ??= this.#save(leaving).finally(() => {
        this.running = null;
      });
      await this.running;
      if (this.state === "failed") break;
    }
    return this.pending === null;
  }

  /** @param {boolean} leaving */
  async #save(leaving) {
    const lines = /** @type {Lines} */ (this.pending);
    this.#tell("saving");
    this.retrying = false;
    try {
      ({ version: this.version } = await this.send(lines, this.version, leaving));
      if (this.pending === lines) this.pending = null;
      this.retry = FIRST_RETRY;
      this.#tell(this.pending ? "unsaved" : "saved");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#tell(error.status === 412 ? "conflict" : "failed", error);
      if (this.state !== "failed" || !error.again) return; // the same lines would be refused again
      this.retrying = true;
      this.#later(error.wait === null ? this.retry : 1000 * error.wait);
      this.retry = Math.min(2 * this.retry, LONGEST_RETRY);
    }
  }

  /**
   * Go on after a conflict.
   *
   * @param {string} version  the present one, which the person knows about
   */
  resolve(version) {
    this.version = version;
    this.#tell(this.pending ? "unsaved" : "saved");
  }

  /** Save nothing any more. */
  stop() {
    clearTimeout(this.timer);
    this.onState = () => {};
  }

  /** @param {number} milliseconds */
  #later(milliseconds) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.flush(), milliseconds);
  }

  /**
   * @param {SaveState} state
   * @param {Problem | null} [problem]
   */
  #tell(state, problem = null) {
    this.state = state;
    this.onState(state, problem);
  }
}
