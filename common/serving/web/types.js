// @ts-check
/**
 * The shapes of the service's answers. This module holds types only.
 *
 * @typedef {[number, number]} Point  x and y, pixels of the picture
 *
 * @typedef {object} Character
 * @property {string} text
 * @property {number} confidence  0 to 1
 *
 * @typedef {object} Line
 * @property {string} text
 * @property {number | null} confidence  0 to 1; null where nobody measured it
 * @property {Character[]} characters
 * @property {Point[]} baseline  from the first letter to the last; empty for a picture of one line
 * @property {Point[]} outline
 *
 * @typedef {object} Reading  one page, as `POST /v1/read` answers it
 * @property {string} [image]  name of the file
 * @property {number} [page]  number of the page in its document, from 1
 * @property {"page" | "line" | "character"} kind
 * @property {number} width  pixels
 * @property {number} height  pixels
 * @property {string} text
 * @property {number} confidence  0 to 1
 * @property {boolean} [upside_down]
 * @property {number[]} [character_confidences]  of a picture of one line
 * @property {Line[]} lines  in reading order
 *
 * @typedef {object} Answer
 * @property {Reading[]} readings  one per page
 * @property {string} model  the model's identity
 * @property {number | null} seconds  time the server took
 */
export {};
