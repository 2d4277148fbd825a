// What is said of a place: in a box beside the pointer, and to a screen reader.
// A place is {q, k}: indices of a query and a key, one of them perhaps null.
const tooltip = weft.tooltip = (() => {
  const number = (w) => w >= 0.00095 ? w.toFixed(3) : w > 0 ? w.toExponential(1) : "0";

  function named(group) {
    const at = group.to - group.from > 1 ? `${group.from}–${group.to - 1}` : `${group.from}`;
    return `${at} “\u2068${group.label}\u2069”`;  // a right-to-left token stays in its quotes
  }

  // {title, notes, lines: [[color, name, weight, remark]]}
  function describe(pane, channels, place) {
    const {q, k} = place, rows = pane.rows.groups, cols = pane.cols.groups;
    const layer = derived.layerName(pane, pane.layer()), n = channels.length;
    const who = n === 1 && channels[0].name !== "rollout" ? `${layer}, ${channels[0].name}` : layer;
    const kept = pane.pass.maps.k;
    if (q !== null && k !== null) {
      const [from, to] = derived.seen(pane.model.causal, pane.window(), rows[q], cols);
      const hidden = k < from || k >= to;
      const title = `query ${named(rows[q])} → key ${named(cols[k])}`;
      if (hidden) return {title, notes: [who, "masked: never seen"], lines: []};
      const lines = channels.map((channel) => {
        const row = channel.row(q), w = row[k];
        const remark = w > 0 || !kept ? `rank ${derived.rank(row, k)} of ${to - from}`
          : `not among the ${kept} kept`;
        return [channel.color, channel.name, w, remark];
      });
      return {title, notes: [who], lines};
    }
    const row = q !== null, i = row ? q : k;
    const sums = new Float32Array(row ? cols.length : rows.length), all = [];
    let rest = 0;
    for (const channel of channels) {
      const weights = row ? channel.row(i) : channel.column(i);
      all.push(weights);
      for (let j = 0; j < sums.length; j++) sums[j] += weights[j] / n;
      if (row) rest += channel.rest(i) / n;
    }
    const lines = derived.largest(sums, 6).map(([j, w]) => {
      const most = all.reduce((best, weights, c) => weights[j] > all[best][j] ? c : best, 0);
      return [n > 1 ? channels[most].color : null, named((row ? cols : rows)[j]), w,
              n > 1 ? `most in ${channels[most].name}: ${number(all[most][j])}` : ""];
    });
    if (rest > 0) lines.push([null, "the rest, not kept", rest, ""]);
    const side = row ? `query ${named(rows[i])} looks at` : `key ${named(cols[i])} is seen by`;
    return {title: side, notes: [n > 1 ? `${who}, mean of ${n} heads` : who], lines};
  }

  function show(told, x, y) {
    const tip = byId("tip");
    tip.replaceChildren(el("p", {}, told.title),
      ...told.notes.map((note) => el("div", {class: "faint"}, note)),
      el("table", {}, ...told.lines.slice(0, 16).map(([color, name, weight, remark]) => {
        const swatch = el("span", {class: "swatch"});
        if (color) swatch.style.background = colors.css(color);
        return el("tr", {}, el("td", {}, color ? swatch : ""), el("td", {}, name),
                  el("td", {class: "n"}, typeof weight === "number" ? number(weight) : weight),
                  el("td", {class: "faint"}, remark));
      })));
    if (told.lines.length > 16) {
      tip.append(el("div", {class: "faint"}, `and ${told.lines.length - 16} heads more`));
    }
    tip.hidden = false;
    const {offsetWidth: w, offsetHeight: h} = tip;
    const left = x + 18 + w > innerWidth ? Math.max(4, x - 18 - w) : x + 18;
    tip.style.transform = `translate(${left}px, ${clamp(y + 14, 4, innerHeight - h - 4)}px)`;
  }

  let timer = 0;
  // Spoken once the pointer rests; at once for keys and pins.
  function say(told, now) {
    clearTimeout(timer);
    const speak = () => {
      byId("live").textContent = [told.title, ...told.notes, ...told.lines.slice(0, 5).map(
        ([, name, weight, remark]) =>
          `${name}: ${typeof weight === "number" ? number(weight) : weight} ${remark}`.trim())
      ].join("; ");
    };
    if (now) speak();
    else timer = setTimeout(speak, 400);
  }

  function hide() {
    clearTimeout(timer);
    byId("tip").hidden = true;
  }

  return {describe, show, say, hide, number, named};
})();
