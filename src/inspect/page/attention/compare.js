// Two models side by side: which tokens stand for the same characters, and what differs by layer.
const compare = weft.compare = (() => {
  // Pieces [{a: [from, to), b: [from, to)}] in order, which end at the same character in both
  // lists of groups; a special token is a piece of its own, beside one of the other list or none.
  function pieces(a, b) {
    const out = [];
    let i = 0, j = 0;
    const special = (list, at) => at < list.length && list[at].end < 0;
    while (i < a.length || j < b.length) {
      const piece = {a: [i, i], b: [j, j]};
      if (special(a, i) || special(b, j)) {
        if (special(a, i)) i++;
        if (special(b, j)) j++;
      } else {
        if (i < a.length) i++;
        if (j < b.length) j++;
        const end = (list, at) => at > 0 && list[at - 1].end >= 0 ? list[at - 1].end : -1;
        while (i > piece.a[0] && j > piece.b[0] && end(a, i) !== end(b, j)) {
          if (end(a, i) < end(b, j) && i < a.length && !special(a, i)) i++;
          else if (end(a, i) > end(b, j) && j < b.length && !special(b, j)) j++;
          else break;
        }
        // tokens of one character (its bytes) end where the piece ends
        while (i < a.length && !special(a, i) && a[i].end <= end(b, j)) i++;
        while (j < b.length && !special(b, j) && b[j].end <= end(a, i)) j++;
      }
      piece.a[1] = i;
      piece.b[1] = j;
      out.push(piece);
    }
    return out;
  }

  // {y: [places of a's groups, of b's], rows}: in rows, so that a piece takes the same rows in
  // both.
  function places(a, b) {
    const y = [new Float32Array(a.length), new Float32Array(b.length)];
    let rows = 0;
    for (const piece of pieces(a, b)) {
      const tall = Math.max(piece.a[1] - piece.a[0], piece.b[1] - piece.b[0]);
      [piece.a, piece.b].forEach(([from, to], side) => {
        for (let i = from; i < to; i++) y[side][i] = rows + (i - from) * tall / (to - from);
      });
      rows += tall;
    }
    return {y, rows};
  }

  // The group of `b` that stands for most of group i of `a`; null: none does.
  function counterpart(a, b, i) {
    if (i === null) return null;
    if (a[i].end < 0) {
      const nth = a.slice(0, i).filter((g) => g.end < 0).length;
      const found = b.map((g, j) => [g, j]).filter(([g]) => g.end < 0)[nth];
      return found ? found[1] : null;
    }
    let best = null, most = 0;
    b.forEach((g, j) => {
      const common = Math.min(a[i].end, g.end) - Math.max(a[i].start, g.start);
      if (g.end >= 0 && common > most) [best, most] = [j, common];
    });
    return best;
  }

  const mean = (row) => row.reduce((sum, x) => sum + x, 0) / row.length;
  const kWhat = [["entropy", "Entropy (nats)", 2], ["distance", "Distance (tokens)", 2],
                 ["first_share", "On token 0", 3]];

  // The table: a row a layer of either model, the mean over its heads.
  function table(panes) {
    const head = el("tr", {}, el("th", {}, ""), ...panes.flatMap((pane) =>
      [el("th", {}, "Layer"), ...kWhat.map(([, name]) => el("th", {}, name))]));
    const rows = Math.max(...panes.map((pane) => pane.pass.entropy.length));
    const lines = Array.from({length: rows}, (_, l) => el("tr", {}, el("th", {}, ""),
      ...panes.flatMap((pane) => l >= pane.pass.entropy.length
        ? Array.from({length: 1 + kWhat.length}, () => el("td", {}, ""))
        : [el("td", {}, String(pane.model.shown_layers[l])),
           ...kWhat.map(([key, , digits]) =>
             el("td", {}, mean(pane.pass[key][l]).toFixed(digits)))])));
    const all = el("tr", {}, el("th", {}, "Mean"), ...panes.flatMap((pane) =>
      [el("td", {}, ""), ...kWhat.map(([key, , digits]) =>
        el("td", {}, mean(pane.pass[key].map(mean)).toFixed(digits)))]));
    const names = el("tr", {}, el("td", {}), ...panes.map((pane) =>
      el("th", {colSpan: 1 + kWhat.length, style: "text-align:center"}, pane.model.name)));
    return el("section", {}, el("h2", {}, "What differs, by layer"), el("div", {class: "wide"},
      el("table", {id: "compare"}, el("thead", {}, names, head), el("tbody", {}, ...lines, all))));
  }

  return {pieces, places, counterpart, table};
})();
