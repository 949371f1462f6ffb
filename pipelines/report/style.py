"""The look of the page: one style sheet, light and dark, for a phone, a screen and paper."""

CSS = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d2733;--muted:#5d6975;--line:#d9dee3;
--accent:#1f6f8b;--second:#d1603d;--third:#8fb339;--wash:#eaf1f3}
@media (prefers-color-scheme:dark){:root{--paper:#12171c;--card:#1a2128;--ink:#e8edf1;--muted:#9aa7b2;--line:#33404b;
--accent:#5fb6d3;--second:#f0875f;--third:#b5d35e;--wash:#22303a}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.55;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.page{max-width:1240px;margin:0 auto;padding:0 1.1rem 4rem}
header.top{padding:2.4rem 0 1.2rem;border-bottom:3px solid var(--accent);margin-bottom:1.2rem}
h1{font-size:clamp(1.7rem,5vw,2.5rem);line-height:1.15;margin:0 0 .35rem;letter-spacing:-.02em}
h2{font-size:1.45rem;margin:0 0 .3rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:0 0 .2rem}
p{margin:.2rem 0 .8rem}
.lead,figcaption,.note{color:var(--muted)}
.note,figcaption{font-size:.9rem}
a{color:var(--accent)}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.35rem .9rem;font-size:.95rem}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
main>section{padding:1.7rem 0 .4rem;scroll-margin-top:.5rem}
main>section+section{border-top:1px solid var(--line)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:.7rem;margin:.9rem 0}
.cards>div,figure{background:var(--card);border:1px solid var(--line);border-radius:10px}
.cards>div{padding:.7rem .85rem}
.cards dt{color:var(--muted);font-size:.82rem}
.cards dd{margin:0;font-size:1.22rem;font-weight:650;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.cards dd small{display:block;font-size:.78rem;font-weight:400;color:var(--muted)}
dl.cards{padding:0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:.9rem;margin:.9rem 0}
figure{margin:0;padding:.9rem 1rem .8rem;min-width:0;display:flex;flex-direction:column}
figure svg{width:100%;height:auto;display:block;margin:.2rem 0 .4rem}
figcaption{margin-top:auto}
.wide{overflow-x:auto;margin:.8rem 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--muted);white-space:nowrap;font-size:.82rem}
.n{text-align:right}
.n,time,td code{white-space:nowrap}
tbody tr:hover{background:var(--wash)}
details{border:1px solid var(--line);border-radius:8px;padding:.35rem .8rem;margin:.45rem 0;background:var(--card)}
summary{cursor:pointer}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.tag{display:inline-block;border-radius:99px;padding:0 .55rem;font-size:.78rem;border:1px solid currentColor}
.tag.good{color:var(--accent)}.tag.bad{color:var(--second)}
footer{margin-top:2.5rem;color:var(--muted);font-size:.85rem;border-top:1px solid var(--line);padding-top:.8rem}
@media (min-width:1100px){.body{display:grid;grid-template-columns:170px minmax(0,1fr);gap:2.2rem}
nav{position:sticky;top:1.2rem;align-self:start}nav ol{flex-direction:column;gap:.4rem}}
@media (max-width:560px){th,td{padding:.28rem .4rem;white-space:nowrap}.cards{grid-template-columns:repeat(2,1fr)}
.cards dd{font-size:1.05rem}}
@media print{:root{--paper:#fff;--card:#fff;--ink:#111;--muted:#444;--line:#bbb;--accent:#1f6f8b;--second:#b8502f;
--third:#6f8d2b;--wash:#fff}body{font-size:10.5pt}
.cards dd{font-size:1rem}nav{display:none}.body{display:block}.page{max-width:none;padding:0}
figure,.cards>div,tr{break-inside:avoid}h2,h3{break-after:avoid}.wide{overflow:visible}
.plots{grid-template-columns:1fr 1fr}table{font-size:8.5pt}}
""".strip()
