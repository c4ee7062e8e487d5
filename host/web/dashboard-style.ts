/** The dashboard's style sheet: light and dark as the system is. */
export const dashboardStyle = `
:root{color-scheme:light dark;--back:#f4f7f8;--card:#fff;--text:#14212b;--soft:#5f7380;--line:#dfe7ea;--water:#0b84a5;--fill:#0b84a522;--good:#2b8a5f;--warn:#b7791f;--bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--back:#0d1418;--card:#141e24;--text:#e4edf1;--soft:#8aa0ac;--line:#22313a;--water:#3cc0dd;--fill:#3cc0dd22;--good:#4fc38a;--warn:#e0b04f;--bad:#ff7b6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums}
header{display:flex;align-items:center;gap:1rem;padding:.9rem 1.5rem;border-bottom:1px solid var(--line);background:var(--card)}
h1{display:flex;align-items:center;gap:.5rem;margin:0;font-size:1.1rem;letter-spacing:.01em}
h1 svg{width:1.6rem;height:1.6rem;fill:none;stroke:var(--water);stroke-width:2.2;stroke-linecap:round}
h2{margin:2rem 0 .7rem;font-size:.8rem;font-weight:600;text-transform:uppercase;letter-spacing:.08em;color:var(--soft)}
#node{color:var(--soft)}nav{margin-left:auto;display:flex;gap:1rem}a{color:var(--water);text-decoration:none}a:hover{text-decoration:underline}
.badge{padding:.05rem .6rem;border-radius:1rem;border:1px solid currentColor;font-size:.8rem;color:var(--soft)}
.badge.good{color:var(--good)}.badge.bad{color:var(--bad)}
main{max-width:76rem;margin:0 auto;padding:1.2rem 1.5rem 4rem}
#flow,#windows,.card{background:var(--card);border:1px solid var(--line);border-radius:.8rem}
#flow{display:grid;grid-template-columns:auto 1fr auto;align-items:center;gap:2rem;padding:1rem 1.4rem}
.big b{display:block;font-size:2.6rem;line-height:1.1;font-weight:650;letter-spacing:-.02em;min-width:4.5ch}.big span{color:var(--soft)}
#flow-chart{width:100%;height:6rem}
path.line{fill:none;stroke:var(--water);stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}path.area{fill:var(--fill);stroke:none}
dl{margin:0}#gauges{display:grid;grid-template-columns:auto auto;gap:.15rem 1rem}dt{color:var(--soft)}dd{margin:0;text-align:right}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:1rem}
.card{padding:.9rem 1.1rem 1rem;min-width:0}
.card h3{display:flex;justify-content:space-between;gap:1rem;margin:0 0 .3rem;font-size:1rem}.card h3 span:first-child{overflow:hidden;text-overflow:ellipsis}.card h3 span:last-child{color:var(--water);white-space:nowrap}
.card svg{width:100%;height:3.2rem;display:block}
.lag{display:flex;justify-content:space-between;margin:.6rem 0 .2rem;font-size:.85rem;color:var(--soft)}
#skewed{color:var(--warn)}
.bar{height:.35rem;border-radius:.2rem;background:var(--line);overflow:hidden}.bar i{display:block;height:100%;border-radius:.2rem;background:var(--good)}.bar.warn i{background:var(--warn)}.bar.bad i{background:var(--bad)}
.facts{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin-top:.7rem;font-size:.85rem;color:var(--soft)}.facts b{color:var(--text);font-weight:600}.facts .bad b{color:var(--bad)}.facts .warn b{color:var(--warn)}
#windows{padding:1rem 1.2rem}
#queries,#values{display:flex;flex-wrap:wrap;gap:.4rem}
button{font:inherit;padding:.15rem .75rem;border:1px solid var(--line);border-radius:1rem;background:none;color:var(--soft);cursor:pointer}
button[aria-selected=true],button[aria-pressed=true]{color:var(--water);border-color:var(--water)}button:focus-visible{outline:2px solid var(--water);outline-offset:2px}
#chart-head{display:flex;justify-content:space-between;align-items:center;gap:1rem;margin:.8rem 0 .3rem}#live{font-size:.85rem;color:var(--soft);white-space:nowrap}
#chart{width:100%;height:16rem;display:block}#chart path,#chart line{vector-effect:non-scaling-stroke}#chart line{stroke:var(--line)}
#axis{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft)}
#keys{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.2rem 1.2rem;margin-top:.8rem}
.key{display:flex;align-items:baseline;gap:.5rem;min-width:0}.key i{flex:none;width:.7rem;height:.25rem;border-radius:.2rem;align-self:center}.key span{color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.key b{margin-left:auto}
.alerts{background:var(--card);border:1px solid var(--line);border-radius:.8rem;padding:.6rem 1.2rem}.alert{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:.3rem 0}.alert b{min-width:8rem;color:var(--warn)}.alert.critical b{color:var(--bad)}.alert span{color:var(--soft)}
#empty{color:var(--soft)}code{font:13px ui-monospace,monospace;user-select:all}
@media (max-width:48rem){#flow{grid-template-columns:1fr;gap:.8rem}header{flex-wrap:wrap}}
`;
