// @ts-check
/** The page's start: reading pictures, or labelling a folder if the server says so. */

import { Api } from "./api.js";
import { Tokens } from "./token.js";

const mode = document.querySelector('meta[name="fourhands-mode"]')?.getAttribute("content");
const api = new Api(new Tokens());
if (mode === "label") (await import("./label.js")).startLabelling(api);
else (await import("./reader.js")).startReading(api);
