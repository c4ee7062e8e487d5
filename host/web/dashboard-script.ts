/**
 * The dashboard's script. It polls `/v1/status` for flows and follows one query's live feed: browsers open only six
 * connections to a host, so the others' feeds stay closed. Texts from the node are set as text, never as markup.
 */
export const dashboardScript = String.raw`
const POLL_MS = 1000, POINTS = 120, WINDOWS = 60, KEYS = 8;
const COLOURS = ["#2a9fc4", "#e08a3c", "#5bb079", "#b574c9", "#d9607a", "#8a93a3", "#c9b23c", "#5a7fe0"];
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}
function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toFixed(2) + " G";
  if (size >= 1e6) return (value / 1e6).toFixed(2) + " M";
  if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
};
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < 4) { value /= 1024; unit++; }
  return (unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)) + " " + units[unit];
};
const span = (ms) => {
  if (ms === null) return "–";
  const sign = ms < 0 ? "−" : "", size = Math.abs(ms);
  if (size < 1e3) return sign + Math.round(size) + " ms";
  if (size < 12e4) return sign + (size / 1e3).toFixed(1) + " s";
  if (size < 72e5) return sign + Math.round(size / 6e4) + " min";
  if (size < 1728e5) return sign + (size / 36e5).toFixed(1) + " h";
  return sign + Math.round(size / 864e5) + " d";
};

/* Flows */

const rates = new Map();
function remember(name, rate) {
  const points = rates.get(name) ?? [];
  points.push(rate);
  if (points.length > POINTS) points.shift();
  rates.set(name, points);
  return points;
}
function spark(svg, points, width, height) {
  const top = Math.max(1, ...points) * 1.08;
  const shown = Math.max(30, points.length);
  const x = (index) => ((shown - points.length + index) / (shown - 1)) * width;
  const line = points.map((point, index) => x(index).toFixed(1) + "," + (height - 2 - (point / top) * (height - 4)).toFixed(1)).join("L");
  svg.replaceChildren(
    draw("path", { class: "area", d: "M" + x(0).toFixed(1) + "," + height + "L" + line + "L" + width + "," + height + "Z" }),
    draw("path", { class: "line", d: "M" + line }),
  );
}

const cards = new Map();
function cardOf(name) {
  let card = cards.get(name);
  if (card !== undefined) return card;
  const root = make("article", undefined, "card"), head = make("h3"), rate = make("span");
  head.append(make("span", name), rate);
  const svg = draw("svg", { viewBox: "0 0 300 60", preserveAspectRatio: "none", "aria-hidden": "true" });
  const lag = make("div", undefined, "lag"), lagText = make("span");
  lag.append(make("span", "watermark lag"), lagText);
  const bar = make("div", undefined, "bar"), fill = make("i"), facts = make("div", undefined, "facts");
  bar.append(fill);
  root.append(head, svg, lag, bar, facts);
  byId("streams").append(root);
  card = { rate, svg, lagText, bar, fill, facts };
  cards.set(name, card);
  return card;
}
function fact(name, value, className) {
  const node = make("span", undefined, className);
  node.append(make("b", value), " " + name);
  return node;
}
function showStream(stream) {
  const card = cardOf(stream.stream), lag = stream.lagMs;
  card.rate.textContent = short(Math.round(stream.rate)) + " /s";
  spark(card.svg, remember(stream.stream, stream.rate), 300, 60);
  card.lagText.textContent = stream.watermark === null ? "no watermark yet" : span(lag);
  card.lagText.title = stream.watermark ?? "";
  // One second is a sliver, a day is full: lags are looked at by their order of magnitude.
  const share = lag === null || lag <= 0 ? 0 : Math.min(1, Math.log10(1 + lag / 1e3) / Math.log10(86401));
  card.fill.style.width = (share * 100).toFixed(1) + "%";
  card.bar.className = "bar" + (lag > 36e5 ? " bad" : lag > 12e4 ? " warn" : "");
  card.facts.replaceChildren(
    fact("events", short(stream.accepted)),
    fact("stored", bytes(stream.storedBytes)),
    ...(stream.accepted > 0 ? [fact("B/event", (stream.storedBytes / stream.accepted).toFixed(1))] : []),
    ...(stream.late > 0 ? [fact("late", short(stream.late), "warn")] : []),
    ...(stream.clockSkewed > 0 ? [fact("clock skew", short(stream.clockSkewed), "warn")] : []),
    ...(stream.deadLettered > 0 ? [fact("dead letters", short(stream.deadLettered), "bad")] : []),
  );
}
function showSkewed(streams) {
  const devices = streams.flatMap((stream) => stream.skewedDevices.map((device) => ({ ...device, stream: stream.stream })));
  const line = byId("skewed");
  line.hidden = devices.length === 0;
  const name = (device) => (device.device ?? "without a name") + " (" + span(device.medianOffsetMs) + ")";
  line.textContent = "Devices with skewed clocks: " + devices.slice(0, 8).map(name).join(", ") + (devices.length > 8 ? " …" : "");
  line.title = devices.map((device) => device.stream + ": " + name(device) + ", " + device.events + " events set aside").join("\n");
}
function bufferRows(buffer) {
  if (buffer === null) return [];
  const sum = (name) => buffer.streams.reduce((total, stream) => total + stream[name], 0);
  const places = [["downsampled", "downsampled"], ["givenUp", "given up"], ["expired", "expired"], ["corrupt", "corrupt"]];
  const lost = places.filter(([name]) => sum(name) > 0).map(([name, text]) => short(sum(name)) + " " + text);
  return [
    ["buffer", bytes(buffer.usedBytes) + " of " + bytes(buffer.capacityBytes) + ", " + (buffer.refusing ? "refusing" : buffer.level)],
    ["losses", lost.length === 0 ? "none" : lost.join(", ")],
  ];
}
function showNode(status) {
  const { node, queue, store, checkpoint, memory, buffer } = status;
  byId("node").textContent = node.id;
  const state = byId("state");
  state.textContent = !node.ready ? "not ready" : !status.settled ? "windows lag" : "ready";
  state.className = "badge " + (node.ready && status.settled ? "good" : "bad");
  const total = status.streams.reduce((sum, stream) => sum + stream.rate, 0);
  byId("rate").textContent = short(Math.round(total));
  spark(byId("flow-chart"), remember("", total), 600, 120);
  const rows = [
    ["queue", bytes(queue.bytes) + " of " + bytes(queue.maxBytes)],
    ["refused", short(queue.rejected)],
    ["database", bytes(store.databaseBytes)],
    ["write-ahead log", bytes(store.walBytes)],
    ...bufferRows(buffer),
    ["checkpoint", checkpoint.ageMs === null ? "none yet" : span(checkpoint.ageMs) + " ago"],
    ["memory", bytes(memory.rssBytes)],
  ];
  byId("gauges").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

/* Windows of one query */

let focus = null, feed = null, value = null, valueNames = [];
/* key text -> { label, windows: Map of start -> values } */
let series = new Map();
let isStale = false, liveRows = 0;

function take(row) {
  const text = JSON.stringify(row.key);
  let one = series.get(text);
  if (one === undefined) {
    if (series.size >= KEYS) return;
    one = { label: Object.values(row.key).join(" · ") || "all", windows: new Map() };
    series.set(text, one);
  }
  if (row.retracted) one.windows.delete(row.window.start);
  else one.windows.set(row.window.start, row.values);
  if (one.windows.size > WINDOWS) one.windows.delete([...one.windows.keys()].sort()[0]);
  for (const name of Object.keys(row.values)) if (!valueNames.includes(name)) valueNames.push(name);
  isStale = true;
}
async function rowsOf(query, parameters) {
  const answer = await fetch("/v1/queries/" + encodeURIComponent(query.query) + "/results?" + new URLSearchParams(parameters));
  if (!answer.ok) return [];
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
function stepUs(window) {
  if (window.kind !== "calendar") return window.everyUs ?? window.sizeUs ?? window.gapUs ?? 60e6;
  return window.every * { time: 1, day: 86400e6, week: 604800e6, month: 2678400e6 }[window.unit];
}
async function follow(query) {
  feed?.close();
  focus = query.query;
  series = new Map();
  valueNames = [];
  value = null;
  liveRows = 0;
  isStale = true;
  feed = new EventSource("/v1/queries/" + encodeURIComponent(query.query) + "/live");
  feed.addEventListener("result", (event) => {
    if (focus !== query.query) return;
    liveRows++;
    take(JSON.parse(event.data));
  });
  feed.addEventListener("open", () => { byId("live").textContent = "live"; });
  feed.addEventListener("error", () => { byId("live").textContent = "reconnecting …"; });
  if (query.watermark === null) return;
  const back = (windows) => String((Date.parse(query.watermark) - (windows * stepUs(query.window)) / 1000) * 1000);
  const newest = await rowsOf(query, { from: back(3), limit: "200" });
  const keys = [...new Set(newest.map((row) => JSON.stringify(row.key)))].slice(0, KEYS);
  for (const key of keys) {
    for (const row of await rowsOf(query, { from: back(WINDOWS), key, limit: String(WINDOWS) })) {
      if (focus !== query.query) return;
      take(row);
    }
  }
}
function showQueries(queries) {
  if (focus === null && queries.length > 0) {
    const first = queries.find((query) => query.results > 0) ?? queries.find((query) => query.watermark !== null);
    if (first !== undefined) void follow(first);
  }
  const buttons = queries.slice(0, 40).map((query) => {
    const button = make("button", query.query);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", String(query.query === focus));
    button.title = query.keys + " keys, " + query.openGroups + " open groups, " + bytes(query.stateBytes) + " of state";
    button.addEventListener("click", () => void follow(query));
    return button;
  });
  const shown = byId("queries"), text = queries.map((query) => query.query).join("\n") + focus;
  if (shown.dataset.text === text) return;
  shown.dataset.text = text;
  shown.replaceChildren(...buttons);
}
function hasNumbers(name) {
  return [...series.values()].some((one) => [...one.windows.values()].some((values) => typeof values[name] === "number"));
}
/* A string, true or false, or the first values of a list, where it is no number. */
function newest(result) {
  if (typeof result === "number" || result === null || result === undefined) return short(result);
  if (Array.isArray(result)) return result.slice(0, 3).map((one) => one.value + " × " + short(one.count)).join(", ");
  return typeof result === "object" ? result.counts.map(short).join(" | ") : String(result);
}
function showChart() {
  if (!isStale) return;
  isStale = false;
  value ??= valueNames.find((name) => name !== "count" && name !== "n" && hasNumbers(name)) ?? valueNames[0] ?? null;
  byId("values").replaceChildren(...valueNames.slice(0, 16).map((name) => {
    const button = make("button", name);
    button.setAttribute("aria-pressed", String(name === value));
    button.addEventListener("click", () => { value = name; isStale = true; showChart(); });
    return button;
  }));
  const all = [...series.values()];
  const starts = [...new Set(all.flatMap((one) => [...one.windows.keys()]))].sort().slice(-WINDOWS);
  const numbers = all.flatMap((one) => starts.map((start) => one.windows.get(start)?.[value])).filter((number) => typeof number === "number");
  let low = Math.min(...numbers), high = Math.max(...numbers);
  if (!(high > low)) { low -= 1; high += 1; }
  const firstMs = Date.parse(starts[0]), widthMs = Math.max(1, Date.parse(starts.at(-1)) - firstMs);
  const x = (start) => (starts.length === 1 ? 500 : ((Date.parse(start) - firstMs) / widthMs) * 1000).toFixed(1);
  const y = (number) => (250 - ((number - low) / (high - low)) * 240).toFixed(1);
  const grid = [10, 130, 250].map((at) => draw("line", { x1: 0, x2: 1000, y1: at, y2: at }));
  const lines = all.map((one, index) => {
    const points = starts.filter((start) => typeof one.windows.get(start)?.[value] === "number")
      .map((start) => x(start) + "," + y(one.windows.get(start)[value]));
    const d = points.length === 1 ? "M" + points[0] + "h.01" : "M" + points.join("L");
    return points.length === 0 ? null : draw("path", { d, fill: "none", stroke: COLOURS[index], "stroke-width": points.length === 1 ? 7 : 2, "stroke-linejoin": "round", "stroke-linecap": "round" });
  });
  byId("chart").replaceChildren(...grid, ...lines.filter((line) => line !== null));
  const hour = (start) => start.slice(0, 19).replace("T", " ");
  byId("axis").replaceChildren(...(numbers.length === 0 ? [make("span", "no window is closed yet")] : [
    make("span", hour(starts[0])), make("span", (value ?? "") + " from " + short(low) + " to " + short(high)), make("span", hour(starts.at(-1)))]));
  byId("keys").replaceChildren(...all.map((one, index) => {
    const node = make("div", undefined, "key"), mark = make("i"), last = [...one.windows.keys()].sort().at(-1);
    mark.style.background = COLOURS[index];
    const label = make("span", one.label);
    label.title = one.label;
    node.append(mark, label, make("b", newest(one.windows.get(last)?.[value])));
    return node;
  }));
}

/* Alerts */

function showAlerts(alerts, rows) {
  const firing = alerts.reduce((sum, alert) => sum + alert.firing, 0);
  const pending = alerts.reduce((sum, alert) => sum + alert.pending, 0);
  byId("alerts-head").hidden = byId("alerts").hidden = alerts.length === 0;
  byId("alerts-head").textContent = "Alerts · " + short(firing) + " firing" + (pending > 0 ? ", " + short(pending) + " pending" : "");
  const lines = rows.map((row) => {
    const line = make("div", undefined, "alert " + (row.severity === "critical" ? "critical" : ""));
    const values = Object.entries(row.value).slice(0, 4).map(([name, value]) => name + " " + (typeof value === "number" ? short(value) : JSON.stringify(value)));
    line.append(make("b", row.alert), make("span", Object.values(row.key).join(" · ") || "all"), make("span", values.join(", ")),
      make("span", "since " + row.since.slice(0, 19).replace("T", " ")), make("span", row.severity));
    return line;
  });
  if (firing > rows.length) lines.push(make("div", "and " + short(firing - rows.length) + " more", "alert"));
  if (firing === 0) lines.push(make("div", "none fires", "alert"));
  byId("alerts").replaceChildren(...lines);
}
async function firingAlerts(alerts) {
  if (!alerts.some((alert) => alert.firing > 0)) return [];
  const answer = await fetch("/v1/alerts?state=firing&limit=20");
  if (!answer.ok) return [];
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

async function poll() {
  try {
    const answer = await fetch("/v1/status");
    if (!answer.ok) throw new Error(String(answer.status));
    const status = await answer.json();
    showNode(status);
    showSkewed(status.streams);
    for (const stream of status.streams.slice(0, 60)) showStream(stream);
    byId("empty").hidden = status.streams.some((stream) => stream.accepted > 0);
    showQueries(status.queries);
    showChart();
    showAlerts(status.alerts, await firingAlerts(status.alerts));
  } catch {
    byId("state").textContent = "not reachable";
    byId("state").className = "badge bad";
  }
  setTimeout(poll, document.hidden ? POLL_MS * 5 : POLL_MS);
}
byId("curl").textContent = "curl " + location.origin + "/v1/streams/machines/events --data '{\"device\":\"press-1\",\"temp\":71.5}'";
void poll();
`;
