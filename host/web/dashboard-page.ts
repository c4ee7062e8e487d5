import { dashboardScript } from "./dashboard-script.ts";
import { dashboardStyle } from "./dashboard-style.ts";
import { makePage } from "./page.ts";

const body = `<header>
<h1><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M2 8c3.3-3.2 6.7-3.2 10 0s6.7 3.2 10 0M2 15c3.3-3.2 6.7-3.2 10 0s6.7 3.2 10 0"/></svg>Millrace</h1>
<span id="node"></span><span id="state" class="badge" role="status">…</span>
<nav><a href="/docs">API</a><a href="/metrics">Metrics</a></nav>
</header>
<main>
<section id="flow" aria-label="Flow">
<div class="big"><b id="rate">0</b><span>events/s</span></div>
<svg id="flow-chart" viewBox="0 0 600 120" preserveAspectRatio="none" aria-hidden="true"></svg>
<dl id="gauges"></dl>
</section>
<h2 id="alerts-head" hidden>Alerts</h2>
<section id="alerts" class="alerts" aria-live="polite" hidden></section>
<h2>Streams</h2>
<section id="streams" class="cards"></section>
<p id="skewed" class="warn" hidden></p>
<p id="empty" hidden>No events yet. Send one: <code id="curl"></code></p>
<h2>Windows</h2>
<section id="windows">
<div id="queries" role="tablist"></div>
<div id="chart-head"><div id="values" role="group" aria-label="Value"></div><span id="live"></span></div>
<svg id="chart" viewBox="0 0 1000 260" preserveAspectRatio="none" role="img" aria-label="Values of the latest windows"></svg>
<div id="axis"></div>
<div id="keys"></div>
</section>
</main>`;

/** `/`: what flows through the node, at a glance. Without anything from elsewhere. */
export const dashboardPage = makePage({
  title: "Millrace",
  style: dashboardStyle,
  body,
  script: dashboardScript,
});
