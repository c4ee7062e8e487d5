/** `/docs`: the OpenAPI document as a page, without anything from elsewhere. */
export const DOCS_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Millrace HTTP API</title>
<style>
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
article{border-top:1px solid var(--line);padding:1rem 0}
code{font:13px ui-monospace,monospace}b{display:inline-block;min-width:4rem;text-transform:uppercase}
table{border-collapse:collapse;margin:.5rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
</style>
<h1>Millrace HTTP API</h1><p>The same as <a href="/openapi.json">/openapi.json</a>.</p><main></main>
<script type="module">
const make=(tag,text)=>{const node=document.createElement(tag);node.textContent=text??"";return node};
const row=(...cells)=>{const tr=make("tr");for(const cell of cells)tr.append(make("td",cell));return tr};
const api=await(await fetch("/openapi.json")).json();
for(const[path,methods]of Object.entries(api.paths))for(const[method,call]of Object.entries(methods)){
const article=make("article"),head=make("div"),table=make("table");
head.append(make("b",method),make("code",path));
for(const p of call.parameters??[])table.append(row(p.name,p.in,p.description));
for(const[status,answer]of Object.entries(call.responses))table.append(row(status,"answer",answer.description));
article.append(head,make("div",call.summary),table);document.querySelector("main").append(article)}
</script></html>`;
