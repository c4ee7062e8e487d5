/** `/`: the dashboard. One page without anything from elsewhere; it polls `/v1/status` once a second. */
export const DASHBOARD = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Millrace</title>
<style>
:root{color-scheme:light dark;--line:#8883;--flow:#2a7fb8;--bad:#c0392b}
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem}
header{display:flex;gap:1.5rem;align-items:baseline;flex-wrap:wrap}h1{font-size:1.3rem;margin:0}
h2{font-size:1rem;margin:1.5rem 0 .5rem}.muted{opacity:.65}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem}
article{border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
article h3{margin:0;font-size:1rem;display:flex;justify-content:space-between}
svg{width:100%;height:3rem;display:block}polyline{fill:none;stroke:var(--flow);stroke-width:1.5;vector-effect:non-scaling-stroke}
dl{display:grid;grid-template-columns:auto 1fr;gap:0 .8rem;margin:.3rem 0 0}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}
.bad{color:var(--bad);font-weight:600}table{border-collapse:collapse;width:100%}td{border-top:1px solid var(--line);padding:.15rem .4rem;font-variant-numeric:tabular-nums}
</style>
<header><h1>Millrace</h1><span id="node"></span><span id="state" class="muted"></span></header>
<h2>Streams</h2><section id="streams"><p class="muted">No events yet. POST some to /v1/streams/NAME/events.</p></section>
<h2>Latest windows</h2><section id="queries"></section>
<script type="module">
const history=new Map(),byId=id=>document.getElementById(id);
const make=(tag,text,className)=>{const node=document.createElement(tag);node.textContent=text??"";if(className)node.className=className;return node};
const number=value=>value==null?"–":value>=1e6?(value/1e6).toFixed(2)+" M":Math.round(value).toLocaleString();
const bytes=value=>value>=2**30?(value/2**30).toFixed(2)+" GiB":value>=2**20?(value/2**20).toFixed(1)+" MiB":Math.round(value/1024)+" KiB";
const lag=ms=>ms==null?"–":Math.abs(ms)<120000?(ms/1000).toFixed(1)+" s":Math.abs(ms)<72e5?(ms/6e4).toFixed(0)+" min":(ms/864e5).toFixed(1)+" d";
function spark(points){const svg=document.createElementNS("http://www.w3.org/2000/svg","svg"),line=document.createElementNS(svg.namespaceURI,"polyline");
const top=Math.max(1,...points);svg.setAttribute("viewBox","0 0 120 40");svg.setAttribute("preserveAspectRatio","none");
line.setAttribute("points",points.map((p,i)=>(120-points.length+i)+","+(38-p/top*36)).join(" "));svg.append(line);return svg}
function facts(rows){const list=make("dl");for(const[name,value,isBad]of rows)list.append(make("dt",name,"muted"),make("dd",value,isBad?"bad":""));return list}
function streamCard(s){const points=history.get(s.stream)??[];points.push(s.rate);if(points.length>120)points.shift();history.set(s.stream,points);
const card=make("article"),head=make("h3",s.stream);head.append(make("span",number(s.rate)+" /s"));
card.append(head,spark(points),facts([["events",number(s.accepted)],["watermark lag",lag(s.lagMs)],["stored",bytes(s.storedBytes)],
["late",number(s.late),s.late>0],["clock skew",number(s.clockSkewed),s.clockSkewed>0],["dead letters",number(s.deadLettered),s.deadLettered>0]]));return card}
async function queryCard(q){const card=make("article"),head=make("h3",q.query);head.append(make("span",number(q.keys)+" keys","muted"));card.append(head);
const from=q.watermark?"&from="+encodeURIComponent(new Date(Date.parse(q.watermark)-2*q.window.sizeUs/1000).toISOString()):"";
const text=await(await fetch("/v1/queries/"+q.query+"/results?limit=8"+from)).text();const table=make("table");
for(const line of text.split("\\n").filter(Boolean)){const r=JSON.parse(line),tr=make("tr");
for(const cell of[r.window.start.slice(11,19),Object.values(r.key).join(" "),...Object.entries(r.values).slice(0,3).map(([n,v])=>n+" "+(v==null?"–":+v.toPrecision(5)))])tr.append(make("td",cell));table.append(tr)}
card.append(table);return card}
async function draw(){try{const s=await(await fetch("/v1/status")).json();byId("node").textContent=s.node.id;
byId("state").textContent=(s.node.ready?"ready":"not ready")+" · queue "+bytes(s.queue.bytes)+" · store "+bytes(s.store.databaseBytes)+" · WAL "+bytes(s.store.walBytes)+" · memory "+bytes(s.memory.rssBytes);
if(s.streams.length)byId("streams").replaceChildren(...s.streams.map(streamCard));
byId("queries").replaceChildren(...await Promise.all(s.queries.slice(0,12).map(queryCard)))}
catch{byId("state").textContent="not reachable"}setTimeout(draw,1000)}
draw();
</script></html>`;
