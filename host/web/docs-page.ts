import { makePage } from "./page.ts";

const style = `
:root{color-scheme:light dark;--line:#8883;--soft:#7a8791;--water:#1289ab}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.4rem}a{color:var(--water)}
details{border:1px solid var(--line);border-radius:.6rem;margin:.6rem 0;padding:.5rem .9rem}
summary{cursor:pointer}summary span{color:var(--soft)}
code,pre{font:13px ui-monospace,monospace}summary code{font-size:14px;margin-right:.6rem}
summary b{display:inline-block;min-width:3.6rem;text-transform:uppercase;font-size:.8rem;letter-spacing:.05em;color:var(--water)}
table{border-collapse:collapse;margin:.5rem 0;width:100%}th{text-align:left;font-weight:600;color:var(--soft);font-size:.85rem}
td,th{padding:.15rem 1rem .15rem 0;vertical-align:top;border-top:1px solid var(--line)}td:first-child{white-space:nowrap}
pre{overflow:auto;background:#8881;border-radius:.4rem;padding:.6rem}
`;

const script = `
const make = (tag, text) => { const node = document.createElement(tag); if (text !== undefined) node.textContent = text; return node; };
const code = (text) => make("code", text);
function row(tag, ...cells) {
  const tr = make("tr");
  for (const cell of cells) { const td = make(tag); td.append(cell ?? ""); tr.append(td); }
  return tr;
}
function table(head, rows) {
  const node = make("table");
  node.append(row("th", ...head), ...rows);
  return node;
}
function typeOf(schema) {
  if (schema.$ref) { const name = schema.$ref.split("/").pop(), link = make("a", name); link.href = "#" + name; return link; }
  const list = schema.enum ? schema.enum.join(" | ") : schema.type ?? "any";
  const range = schema.maximum !== undefined ? ", " + schema.minimum + " to " + schema.maximum : "";
  return list + range + (schema.default !== undefined ? " (default " + schema.default + ")" : "");
}
function contentOf(content) {
  const node = make("span");
  Object.entries(content ?? {}).forEach(([type, { schema }], index) => {
    if (index > 0) node.append(", ");
    node.append(code(type));
    if (schema.$ref) node.append(" of ", typeOf(schema));
  });
  return node;
}
const api = await (await fetch("/openapi.json")).json(), calls = document.getElementById("calls");
document.getElementById("summary").textContent = api.info.summary;
for (const [path, methods] of Object.entries(api.paths)) for (const [method, call] of Object.entries(methods)) {
  const item = make("details"), head = make("summary");
  head.append(make("b", method), code(path), make("span", call.summary));
  item.append(head);
  if (call.parameters?.length) item.append(table(["parameter", "in", "type", ""], call.parameters.map((p) => row("td", code(p.name), p.in, typeOf(p.schema), p.description))));
  if (call.requestBody) { const line = make("p", "Body: "); line.append(contentOf(call.requestBody.content)); item.append(line); }
  item.append(table(["answer", "", "content"], Object.entries(call.responses).map(([status, answer]) => row("td", status, answer.description, contentOf(answer.content)))));
  calls.append(item);
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  const item = make("details"), head = make("summary");
  item.id = name;
  head.append(code(name));
  item.append(head, make("pre", JSON.stringify(schema, null, 2)));
  document.getElementById("schemas").append(item);
}
addEventListener("hashchange", () => { const item = document.getElementById(location.hash.slice(1)); if (item) item.open = true; });
`;

/** `/docs`: the OpenAPI document as a page, without anything from elsewhere. */
export const docsPage = makePage({
  title: "Millrace HTTP API",
  style,
  body: `<h1>Millrace HTTP API</h1>
<p id="summary"></p>
<p>The document itself: <a href="/openapi.json">/openapi.json</a>. Errors are <code>application/problem+json</code> (RFC 9457).
Times in requests are ISO 8601 or epoch microseconds.</p>
<div id="calls"></div>
<h2>Bodies</h2>
<div id="schemas"></div>`,
  script,
});
