// @ts-check
/** Undo and redo over states that are never changed in place. */

const TOGETHER = 1000; // milliseconds: edits of one kind that follow each other faster are undone together
const LONGEST = 500; // states

/** @template T */
export class History {
  /** @param {T} start */
  constructor(start) {
    /** @type {T[]} */
    this.states = [start];
    this.at = 0;
    this.kind = "";
    this.time = 0;
  }

  /** @returns {T} */
  get current() {
    return this.states[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.states.length - 1;
  }

  /**
   * @param {T} state
   * @param {string} [kind]  edits of the same kind in quick succession are one step; empty: always a step of its own
   */
  push(state, kind = "") {
    const now = performance.now();
    const together = kind !== "" && kind === this.kind && now - this.time < TOGETHER && !this.canRedo;
    this.states.length = this.at + (together ? 0 : 1);
    this.states.push(state);
    if (this.states.length > LONGEST) this.states.shift();
    this.at = this.states.length - 1;
    [this.kind, this.time] = [kind, now];
  }

  /** @returns {T} the state after the step back */
  undo() {
    this.at = Math.max(0, this.at - 1);
    this.kind = "";
    return this.current;
  }

  /** @returns {T} */
  redo() {
    this.at = Math.min(this.states.length - 1, this.at + 1);
    this.kind = "";
    return this.current;
  }
}
