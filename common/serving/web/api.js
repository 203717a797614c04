// @ts-check
/** The service's interface: requests with the token, patience with a busy server, and answers whose form was checked. */

import { Problem, noConnection, nonsense, problemOf } from "./problem.js";

/** @import { Answer, Reading } from "./types.js" */

const TRIES = 6;
const LONGEST_WAIT = 60; // seconds

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
      const response = await fetch(new URL(path, document.baseURI), { ...init, headers, credentials: "omit", redirect: "error" })
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
   * @param {{signal: AbortSignal, onWait: (waiting: Waiting) => void, onSend: () => void}} options
   * @returns {Promise<Answer>}
   */
  async read(file, { signal, onWait, onSend }) {
    return patiently(async () => {
      onSend();
      const body = new FormData();
      body.append("file", file, file.name || "picture");
      return answerOf(await this.json("v1/read", { method: "POST", body, signal, headers: { Accept: "application/json" } }));
    }, signal, onWait);
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
}

/**
 * Repeat work while the server says that it is busy.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @param {AbortSignal} signal
 * @param {(waiting: Waiting) => void} onWait
 * @returns {Promise<T>}
 */
async function patiently(work, signal, onWait) {
  for (let attempt = 1; ; attempt += 1) {
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
export function isLine(line) {
  const { text, confidence, characters, baseline, outline } = line ?? {};
  const known = confidence === null || typeof confidence === "number";
  return typeof text === "string" && known && [characters, baseline, outline].every(Array.isArray);
}
