// What a report looks like: light, dark and on paper. Charts take their colours from here, so that
// they follow; lines differ in dashes and markers too (svg.h), areas in hatching.
#pragma once

namespace weft::report {

constexpr int kChartColors = 8;

constexpr const char* kReportStyle = R"(:root {
  --paper: #ffffff; --ink: #1b1f24; --faint: #59636e; --rule: #d5dae0; --stripe: #f5f7f9;
  --c0: #0b62a8; --c1: #c2510a; --c2: #0a7d5a; --c3: #a8407f; --c4: #8a6a00; --c5: #3c3f9e;
  --c6: #6b5b4a; --c7: #5b6770;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e8ebee; --faint: #a4adb7; --rule: #3a424b; --stripe: #1b2026;
    --c0: #62b5f5; --c1: #ff9a5a; --c2: #43d3a4; --c3: #f29bcd; --c4: #e8c34d; --c5: #aab0ff;
    --c6: #cdb79f; --c7: #b3bec8;
  }
}
@media print {
  :root {
    --paper: #ffffff; --ink: #000000; --faint: #444444; --rule: #bbbbbb; --stripe: #ffffff;
    --c0: #0b62a8; --c1: #c2510a; --c2: #0a7d5a; --c3: #a8407f; --c4: #8a6a00; --c5: #3c3f9e;
    --c6: #6b5b4a; --c7: #5b6770;
  }
  figure, tr, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  body { max-width: none; margin: 0; }
  .wide { overflow-x: visible; }
  .wide table { font-size: 7pt; }
  .wide th, .wide td { padding-right: .35rem; }
}
body {
  background: var(--paper); color: var(--ink); max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; font: 15px/1.5 system-ui, "Liberation Sans", "DejaVu Sans", sans-serif;
  -webkit-print-color-adjust: exact; print-color-adjust: exact;
}
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--rule); }
p { margin: .5rem 0; max-width: 52rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: .6rem 0;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .22rem .65rem .22rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; white-space: nowrap; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; white-space: normal; }
td.long { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
th.n, td.n { text-align: right; white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--stripe); }
tr.note td { color: var(--c1); white-space: normal; }
pre { background: var(--stripe); border: 1px solid var(--rule); padding: .6rem .8rem;
  font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: .8rem 0; }
svg { display: block; width: 100%; height: auto; max-width: 47.5rem; color: var(--ink);
  font: 12px system-ui, "Liberation Sans", "DejaVu Sans", sans-serif; }
svg text { fill: currentColor; }
svg .title { font-weight: 600; font-size: 13px; }
svg .faint { fill: var(--faint); }
svg .rule { stroke: var(--rule); stroke-width: 1; fill: none; }
svg .axis { stroke: var(--faint); stroke-width: 1; fill: none; }
svg .ideal { stroke: var(--faint); stroke-width: 1.2; stroke-dasharray: 2 3; fill: none; }
svg .line { fill: none; stroke-width: 1.7; stroke-linejoin: round; stroke-linecap: round; }
svg .dense { stroke-width: 1; }
svg .inside { font-size: 11px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; }
svg .hatch { stroke: var(--paper); fill: none; }
)";

}  // namespace weft::report
