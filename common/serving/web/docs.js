// @ts-check
/** Shows openapi.json. It is a page of our own, because viewers from elsewhere need inline styles or a network. */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {unknown} value */
const block = (value) => make("pre", { tabindex: "0" }, make("code", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)));

/** @param {string} text  paragraphs, with `code` */
function prose(text) {
  return text.split(/\n\s*\n/).map((paragraph) => {
    const parts = paragraph.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
    return make("p", {}, ...parts);
  });
}

/** @param {any} schema @returns {Node[]} */
function shape(schema) {
  if (!schema) return [];
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return [make("a", { href: `#shape-${name}` }, name)];
  }
  const parts = schema.oneOf ?? schema.anyOf;
  if (parts) return parts.flatMap((/** @type {any} */ part, /** @type {number} */ i) => (i ? [document.createTextNode(" or "), ...shape(part)] : shape(part)));
  if (schema.enum) return [document.createTextNode(schema.enum.join(", "))];
  if (schema.const !== undefined) return [document.createTextNode(String(schema.const))];
  if (schema.type === "array") return [document.createTextNode("list of "), ...shape(schema.items)];
  if (schema.type === "object" && schema.properties) return [document.createTextNode(`{ ${Object.keys(schema.properties).join(", ")} }`)];
  return [document.createTextNode(schema.format === "binary" ? "bytes" : schema.type ?? "anything")];
}

/** @param {any} content  media types */
function contents(content) {
  const rows = Object.entries(content ?? {}).map(([media, one]) => {
    const examples = one.example !== undefined ? [one.example] : Object.values(one.examples ?? {}).map((/** @type {any} */ each) => each.value);
    const shown = examples.map((value) => make("details", {}, make("summary", {}, "Example"), block(value)));
    return make("tr", {}, make("td", {}, make("code", {}, media)), make("td", {}, ...shape(one.schema), ...shown));
  });
  return rows.length ? [make("table", {}, make("tbody", {}, ...rows))] : [];
}

/** @param {string} path @param {string} method @param {any} operation */
function section(path, method, operation) {
  const heading = make("h2", {}, make("code", {}, make("span", { class: "method" }, method.toUpperCase()), ` ${path}`));
  const part = make("section", { class: "operation" }, heading, ...prose(operation.description ?? operation.summary ?? ""));
  if (operation.parameters?.length) {
    const rows = operation.parameters.map((/** @type {any} */ each) =>
      make("tr", {}, make("td", {}, make("code", {}, each.name)), make("td", {}, `in ${each.in}${each.required ? ", required" : ""}`), make("td", {}, ...shape(each.schema)), make("td", {}, each.description ?? "")));
    part.append(make("h3", {}, "Parameters"), make("table", {}, make("tbody", {}, ...rows)));
  }
  if (operation.requestBody) part.append(make("h3", {}, "Body"), ...prose(operation.requestBody.description ?? ""), ...contents(operation.requestBody.content));
  part.append(make("h3", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    part.append(make("p", {}, make("strong", {}, status === "default" ? "other" : status), ` ${/** @type {any} */ (answer).description}`), ...contents(/** @type {any} */ (answer).content));
  }
  return part;
}

async function show() {
  const response = await fetch("openapi.json", { credentials: "omit" });
  if (!response.ok) throw new Error(`the service answered with status ${response.status}`);
  const api = await response.json();
  byId("title").textContent = `${api.info.title} ${api.info.version}`;
  byId("description").append(...prose(api.info.description ?? ""));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(/** @type {any} */ (methods))) byId("operations").append(section(path, method, operation));
  }
  for (const each of api["x-problems"] ?? []) {
    byId("kinds").append(make("tr", { id: each.kind }, make("td", {}, make("code", {}, each.kind)), make("td", {}, String(each.status)), make("td", {}, each.title)));
  }
  for (const [name, schema] of Object.entries(api.components?.schemas ?? {})) {
    byId("shapes").append(make("details", { id: `shape-${name}` }, make("summary", {}, make("code", {}, name)), block(schema)));
  }
  byId("problems").hidden = byId("schemas").hidden = false;
  byId("note").replaceChildren(make("a", { href: "openapi.json" }, "openapi.json"), " has the same for programs.");
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target) target.scrollIntoView();
}

show().catch((error) => {
  byId("note").textContent = `The description could not be loaded: ${error.message}. Load the page again.`;
});
