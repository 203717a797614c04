// @ts-check
/** The service's interface: requests with the token, patience with a busy server, and answers whose form was checked. */

import { Problem, noConnection, nonsense, problemOf } from "./problem.js";

/** @import { Answer, Line, Point, Reading } from "./types.js" */

/**
 * @typedef {object} LabelEntry  a page of the folder that is labelled
 * @property {string} id
 * @property {string} name
 * @property {"new" | "corrected"} state
 * @property {number | null} lines
 *
 * @typedef {object} LabelPage
 * @property {string} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {"new" | "corrected"} state
 * @property {string} version
 * @property {string} [note]
 * @property {Line[]} lines
 *
 * @typedef {object} Patience
 * @property {AbortSignal} signal
 * @property {(waiting: Waiting) => void} onWait
 * @property {() => void} onSend  told before each try
 */

const TRIES = 6;
const LONGEST_WAIT = 60; // seconds
const SAVE_TIMEOUT = 20_000; // milliseconds
const KEEPALIVE = 20_000; // characters: browsers refuse more than 64 KiB of a request that outlives its tab

/**
 * @typedef {object} Waiting  told before each new try
 * @property {number} seconds
 * @property {number} attempt  number of the next try, from 2
 * @property {number} tries
 */

export class Api {
  /** @param {import("./token.js").Tokens} tokens */
  constructor(tokens) {
    this.tokens = tokens;
  }

  /**
   * Send a request. A path is relative to the page, so that the service may stand behind a proxy's prefix.
   *
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<Response>} an answer with a status of success
   * @throws {Problem} anything else; an AbortError if it was cancelled
   */
  async send(path, init = {}) {
    for (;;) {
      const headers = new Headers(init.headers);
      const token = this.tokens.current;
      if (token) headers.set("Authorization", `Bearer ${token}`);
      const response = await fetch(new URL(path, document.baseURI), { ...init, headers, redirect: "error" })
        .catch((/** @type {unknown} */ error) => {
          throw isAbort(error) ? error : noConnection();
        });
      if (response.ok) return response;
      const problem = await problemOf(response);
      if (response.status !== 401 || !(await this.tokens.ask(token))) throw problem;
      init.signal?.throwIfAborted();
    }
  }

  /**
   * Send a request and parse its answer as JSON.
   *
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<any>}
   */
  async json(path, init = {}) {
    const response = await this.send(path, init);
    return response.json().catch((/** @type {unknown} */ error) => {
      if (isAbort(error)) throw error;
      // a connection that breaks within the answer is a TypeError, a body that is no JSON a SyntaxError
      throw error instanceof SyntaxError ? nonsense(response.status) : noConnection();
    });
  }

  /**
   * Read a picture or a document. A busy server is asked again when it says so.
   *
   * @param {File} file
   * @param {Patience} patience
   * @returns {Promise<Answer>}
   */
  async read(file, patience) {
    const body = new FormData();
    body.append("file", file, file.name || "picture");
    const init = { method: "POST", body, signal: patience.signal, headers: { Accept: "application/json" } };
    return patiently(async () => answerOf(await this.json("v1/read", init)), patience);
  }

  /**
   * A corrected reading as a file.
   *
   * @param {Reading} reading
   * @param {"alto" | "page"} format
   * @returns {Promise<Blob>}
   */
  async render(reading, format) {
    const headers = { "Content-Type": "application/json" };
    const response = await this.send(`v1/render?format=${format}`, { method: "POST", headers, body: JSON.stringify(reading) });
    return response.blob();
  }

  // --- label mode

  /** @returns {Promise<{pages: LabelEntry[], left_out: string[]}>} the folder */
  async labelPages() {
    const body = await this.json("v1/label/pages");
    if (!Array.isArray(body?.pages)) throw nonsense(200);
    return { pages: body.pages, left_out: body.left_out ?? [] };
  }

  /**
   * A page of the folder: its lines as saved, else as the reader proposes.
   *
   * @param {string} id
   * @param {Patience} patience
   * @returns {Promise<LabelPage>}
   */
  async labelPage(id, patience) {
    const page = await patiently(() => this.json(`v1/label/pages/${encodeURIComponent(id)}`, { signal: patience.signal }), patience);
    const whole = page?.width > 0 && page.height > 0 && typeof page.version === "string";
    if (!whole || !Array.isArray(page.lines) || !page.lines.every(isLine)) throw nonsense(200);
    return page;
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   * @returns {Promise<Blob>}
   */
  async labelPicture(id, signal) {
    const response = await this.send(`v1/label/pages/${encodeURIComponent(id)}/picture`, { signal });
    return response.blob();
  }

  /**
   * @param {string} id
   * @param {string} version  that was corrected
   * @param {{text: string, baseline: Point[], outline?: Point[]}[]} lines
   * @param {boolean} leaving  whether the tab may close before the answer comes
   * @returns {Promise<{version: string, state: string}>}
   */
  async saveLabel(id, version, lines, leaving) {
    const body = JSON.stringify({ lines });
    const answer = await this.json(`v1/label/pages/${encodeURIComponent(id)}`, {
      method: "PUT",
      headers: { "Content-Type": "application/json", "If-Match": `"${version}"` },
      body,
      keepalive: leaving && body.length < KEEPALIVE,
      signal: AbortSignal.timeout(SAVE_TIMEOUT), // a server that hangs must not keep the person on the page
    });
    if (typeof answer?.version !== "string") throw nonsense(200);
    return answer;
  }
}

/**
 * Repeat work while the server says that it is busy.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @param {Patience} patience
 * @returns {Promise<T>}
 */
async function patiently(work, { signal, onWait, onSend }) {
  for (let attempt = 1; ; attempt += 1) {
    onSend();
    try {
      return await work();
    } catch (error) {
      const busy = error instanceof Problem && (error.status === 503 || error.status === 429);
      if (!busy || attempt === TRIES) throw error;
      const seconds = Math.min(error.wait ?? 2 ** attempt, LONGEST_WAIT);
      onWait({ seconds, attempt: attempt + 1, tries: TRIES });
      await sleep(seconds, signal);
    }
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * The answer to a read, of one page or of several.
 *
 * @param {any} body
 * @returns {Answer}
 */
function answerOf(body) {
  const readings = Array.isArray(body?.pages) ? body.pages : [body];
  if (!readings.length || !readings.every(isReading)) throw nonsense(200);
  const total = body.seconds?.total;
  return { readings, model: String(body.model ?? ""), seconds: typeof total === "number" ? total : null };
}

/**
 * @param {any} reading
 * @returns {boolean}
 */
function isReading(reading) {
  return reading?.width > 0 && reading.height > 0 && Array.isArray(reading.lines) && reading.lines.every(isLine);
}

/**
 * @param {any} line
 * @returns {boolean}
 */
function isLine(line) {
  const { text, confidence, characters, baseline, outline } = line ?? {};
  const known = confidence === null || typeof confidence === "number";
  return typeof text === "string" && known && [characters, baseline, outline].every(Array.isArray);
}
