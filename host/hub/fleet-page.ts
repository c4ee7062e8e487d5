import { dashboardStyle } from "../web/dashboard-style.ts";
import { makePage } from "../web/page.ts";

const style = `${dashboardStyle}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:.8rem}
th,td{text-align:right;padding:.4rem .9rem;border-top:1px solid var(--line)}th{color:var(--soft);font-weight:600;font-size:.85rem;border-top:0}
th:first-child,td:first-child{text-align:left}td.bad{color:var(--bad)}td.warn{color:var(--warn)}
`;

const body = `<header>
<h1><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M2 8c3.3-3.2 6.7-3.2 10 0s6.7 3.2 10 0M2 15c3.3-3.2 6.7-3.2 10 0s6.7 3.2 10 0"/></svg>Millrace hub</h1>
<span id="state" class="badge" role="status">…</span>
<nav><a href="/openapi.json">API</a><a href="/metrics">Metrics</a></nav>
</header>
<main>
<h2>Edges</h2>
<table><thead><tr><th>edge</th><th>last heard of</th><th>events</th><th>not here yet</th><th>open alerts</th><th>batches</th><th>configuration</th><th></th></tr></thead><tbody id="edges"></tbody></table>
<p id="empty" hidden>No edge has sent anything yet. Give one <code>sync: { url: … }</code> with this address.</p>
<h2 id="rollout-title" hidden>Rollouts</h2>
<section id="rollouts" class="alerts" aria-live="polite"></section>
<h2 id="device-title" hidden>Devices</h2>
<table id="device-table" hidden><thead><tr><th>device</th><th>edge</th><th>attributes</th></tr></thead><tbody id="devices"></tbody></table>
<h2>Open alerts</h2>
<section id="alerts" class="alerts" aria-live="polite"></section>
</main>`;

/** Texts from edges are set as text, never as markup. */
const script = String.raw`
const POLL_MS = 2000;
const byId = (id) => document.getElementById(id);
function cell(text, className) {
  const td = document.createElement("td");
  td.textContent = text;
  if (className) td.className = className;
  return td;
}
const span = (ms) => ms < 12e4 ? Math.max(0, Math.round(ms / 1e3)) + " s ago" : ms < 72e5 ? Math.round(ms / 6e4) + " min ago" : Math.round(ms / 36e5) + " h ago";
function configCell(config) {
  if (!config || !config.wanted) return cell("");
  const { wanted, report, isInForce } = config;
  const td = cell(wanted.of + " " + wanted.version + (isInForce ? "" : " · " + (report && report.version === wanted.version ? report.state : "not yet")), isInForce ? "" : "warn");
  if (report && report.reason) td.title = report.version + ": " + report.reason;
  if (report && (report.state === "refused" || report.state === "rolled-back")) td.className = "bad";
  return td;
}
function rolloutLine({ group, rollout }) {
  const line = document.createElement("div");
  line.className = "alert " + (rollout.state === "halted" ? "critical" : "");
  const name = document.createElement("b");
  name.textContent = group + " " + rollout.version;
  const rest = document.createElement("span");
  rest.textContent = [rollout.state, "step " + rollout.step + " of " + rollout.steps.length, rollout.edges.length + " edges", rollout.reason].filter(Boolean).join(" · ");
  line.append(name, rest);
  if (rollout.state === "halted" || rollout.state === "running") for (const action of rollout.state === "halted" ? ["resume", "abort"] : ["abort"]) {
    const button = document.createElement("button");
    button.textContent = action;
    button.onclick = () => fetch("/v1/config-groups/" + encodeURIComponent(group) + "/rollout/" + action, { method: "POST" });
    line.append(button);
  }
  return line;
}
const identities = {
  replayed: "an old copy of its data directory was put back",
  cloned: "two nodes run on copies of its data directory",
  "re-imaged": "it has another data directory than before",
  "name-shared": "two nodes send under this name",
};
function deviceRow({ edge, device, attributes }) {
  const tr = document.createElement("tr");
  const said = Object.entries(attributes).map(([name, { value }]) => name + ": " + value);
  const last = cell(said.join(" · "));
  last.title = Object.entries(attributes).map(([name, { at }]) => name + " set " + at).join("\n");
  tr.append(cell(device), cell(edge), last);
  return tr;
}
function row(edge) {
  const tr = document.createElement("tr");
  const age = Date.now() - Date.parse(edge.lastSeen);
  const notes = [];
  if (edge.identity) notes.push(identities[edge.identity] || edge.identity);
  if (edge.conflicts > 0) notes.push(edge.conflicts + " blocks differ");
  tr.append(
    cell(edge.edge), cell(span(age), age > 6e5 ? "warn" : ""), cell(edge.events.toLocaleString()),
    cell(Math.max(0, edge.accepted - edge.events).toLocaleString()), cell(edge.openAlerts, edge.openAlerts > 0 ? "bad" : ""),
    cell(edge.batches.toLocaleString()), configCell(edge.config), cell(notes.join(", "), "warn"),
  );
  return tr;
}
function alertLine(alert) {
  const line = document.createElement("div");
  line.className = "alert " + (alert.severity === "critical" ? "critical" : "");
  const name = document.createElement("b");
  name.textContent = alert.alert;
  const rest = document.createElement("span");
  rest.textContent = [alert.edge, JSON.stringify(alert.key), alert.state, "since " + alert.since].join(" · ");
  line.append(name, rest);
  return line;
}
async function poll() {
  try {
    const { edges } = await (await fetch("/v1/edges")).json();
    byId("edges").replaceChildren(...edges.map(row));
    byId("empty").hidden = edges.length > 0;
    const text = await (await fetch("/v1/alerts?state=firing&limit=50")).text();
    byId("alerts").replaceChildren(...text.split("\n").filter(Boolean).map((line) => alertLine(JSON.parse(line))));
    const devices = (await (await fetch("/v1/devices?limit=200")).text()).split("\n").filter(Boolean);
    byId("devices").replaceChildren(...devices.map((line) => deviceRow(JSON.parse(line))));
    byId("device-title").hidden = byId("device-table").hidden = devices.length === 0;
    const groups = await fetch("/v1/config-groups");
    const rollouts = groups.ok ? (await groups.json()).groups.filter(({ rollout }) => rollout && rollout.state !== "done") : [];
    byId("rollouts").replaceChildren(...rollouts.map(rolloutLine));
    byId("rollout-title").hidden = rollouts.length === 0;
    byId("state").textContent = edges.length + (edges.length === 1 ? " edge" : " edges");
    byId("state").className = "badge good";
  } catch {
    byId("state").textContent = "no answer";
    byId("state").className = "badge bad";
  }
  setTimeout(poll, POLL_MS);
}
poll();
`;

/** `/` of a hub: the fleet at a glance, without anything from elsewhere. */
export const fleetPage = makePage({ title: "Millrace hub", style, body, script });
