// @ts-check
/** What can go wrong between the page and the service, in the page's own words. */

/**
 * A request that did not work.
 */
export class Problem extends Error {
  /**
   * @param {string} title  what happened
   * @param {string} advice  what to do
   * @param {object} [more]
   * @param {number} [more.status]  HTTP status; 0 if there was no answer
   * @param {boolean} [more.again]  whether the same request may work later
   * @param {number | null} [more.wait]  seconds after which the server wants to be asked again
   * @param {string} [more.request]  the server's name for the request, to be found in its log
   */
  constructor(title, advice, { status = 0, again = false, wait = null, request = "" } = {}) {
    super(`${title}. ${advice}`);
    this.title = title;
    this.advice = advice;
    this.status = status;
    this.again = again;
    this.wait = wait;
    this.request = request;
  }
}

/** @type {Record<number, [title: string, advice: string, again: boolean]>} */
const KNOWN = {
  400: ["The server did not understand the request", "Reload the page. Its version may differ from the server's", false],
  401: ["The server wants a token", "Try again and enter it", true],
  403: ["The server refused the request", "Ask whoever runs it", false],
  404: ["This server does not offer that", "Reload the page. Its version may differ from the server's", false],
  408: ["Sending the picture took too long", "Try again with a better connection, or with a smaller picture", true],
  411: ["The server did not understand the request", "Reload the page", false],
  410: ["The picture is gone from the folder", "Put it back, or start the server again", false],
  412: ["Somebody else saved this page", "Choose which version to keep", false],
  413: ["The picture is too large for this server", "Make it smaller, or send fewer pages at once", false],
  415: ["The server cannot read this kind of file", "Save it as JPEG, PNG, TIFF or PDF", false],
  422: ["The picture cannot be read", "Choose another file, or save it anew as JPEG or PNG", false],
  428: ["The server did not understand the request", "Reload the page", false],
  429: ["The server is busy", "Try again in a moment", true],
  503: ["The server is busy", "Try again in a moment", true],
  507: ["The server could not write the file", "Look at the disk and at the folder's permissions. Then try again", true],
  504: ["Reading took too long", "Try again later, or cut the picture in parts", true],
};

/** @returns {Problem} */
export function noConnection() {
  return new Problem(
    "The server cannot be reached",
    "Check the connection and whether the server is running. Then try again",
    { again: true },
  );
}

/** @returns {Problem} */
export function nonsense(status = 0) {
  return new Problem(
    "The answer is not one of this service",
    "Something between the page and the server may have changed it. Try again, or reload the page",
    { status, again: true },
  );
}

/**
 * The problem that a response describes. The server's own sentence is used if it has one.
 *
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
export async function problemOf(response) {
  const { status, headers } = response;
  const unknown = /** @type {[string, string, boolean]} */ (["The server failed", "Try again. If it fails again, tell whoever runs it", true]);
  const [title, advice, again] = KNOWN[status] ?? unknown;
  /** @type {{detail?: unknown, request?: unknown}} */
  let told = {};
  if ((headers.get("Content-Type") ?? "").includes("json")) told = await response.json().catch(() => ({})) ?? {};
  const detail = typeof told.detail === "string" && status < 500 ? sentence(told.detail) : advice;
  const request = typeof told.request === "string" ? told.request : (headers.get("X-Request-Id") ?? "");
  return new Problem(title, detail, { status, again, wait: secondsOf(headers.get("Retry-After")), request });
}

/** @param {string} text */
function sentence(text) {
  const tidy = text.trim().replace(/\.$/, "");
  return tidy.charAt(0).toUpperCase() + tidy.slice(1);
}

/**
 * The seconds of a Retry-After header, which holds seconds or a date.
 *
 * @param {string | null} header
 * @returns {number | null}
 */
export function secondsOf(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}
