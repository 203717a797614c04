// @ts-check
/** @import { Api } from "./api.js" */
/** @param {Api} api */
export function startLabelling(api) {
  void api;
}
