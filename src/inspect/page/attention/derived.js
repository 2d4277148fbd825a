// What is made of the maps: groups of tokens, means, rollout, ranks, what a mask hides.
const derived = weft.derived = (() => {
  const kRolloutTokens = 2048;  // above, its two dense matrices are too large for a browser

  // Tokens that take part: all, or those that a step of a generation had before it.
  const shownTokens = (pass, step) =>
    step > 0 && pass.prompt_tokens ? Math.min(pass.prompt_tokens + step - 1, pass.tokens.length)
                                   : pass.tokens.length;
  const steps = (pass) => pass.prompt_tokens ? pass.tokens.length - pass.prompt_tokens : 0;

  // An axis: groups {label, from, to, start, end} (tokens, then code points; -1: a special token)
  // and the group `of` each token, -1 for those that are not on it.
  function axis(pass, from, to, words) {
    const groups = [], of = new Int32Array(pass.tokens.length).fill(-1);
    for (let t = from; t < to; t++) {
      const [start, end] = pass.offsets[t], last = groups[groups.length - 1];
      if (words && last && pass.words[t] === pass.words[t - 1]) {
        last.text += pass.tokens[t].replace(/^##/, "");
        last.to = t + 1;
        if (end >= 0) last.end = end;
      } else {
        groups.push({text: pass.tokens[t], from: t, to: t + 1, start, end});
      }
      of[t] = groups.length - 1;
    }
    for (const group of groups) group.label = printable(group.text);
    return {groups, of, share: Float32Array.from(groups, (g) => 1 / (g.to - g.from))};
  }

  // {rows, cols} of what is chosen: A→B has the first sentence's queries, the second's keys.
  function axes(pass, {step, words, pairs}) {
    const n = shownTokens(pass, step), cut = pass.pair_from;
    const side = (letter) => cut === null || pairs === "all" ? axis(pass, 0, n, words)
      : letter === "a" ? axis(pass, 0, Math.min(cut, n), words) : axis(pass, cut, n, words);
    return {rows: side(pairs[0]), cols: side(pairs[1])};
  }

  class Mean {
    constructor(parts) { this.parts = parts; }
    addRow(t, colOf, out, factor) {
      for (const part of this.parts) part.addRow(t, colOf, out, factor / this.parts.length);
    }
    addColumn(from, to, rowOf, share, out) {
      const scaled = share.map((x) => x / this.parts.length);
      for (const part of this.parts) part.addColumn(from, to, rowOf, scaled, out);
    }
    rest(t) { return this.parts.reduce((sum, p) => sum + p.rest(t), 0) / this.parts.length; }
  }

  // As one matrix where it is small: a hover then reads one map, not one of each layer.
  function mean(maps) {
    const T = maps[0].T, map = new Mean(maps);
    if (T > 768) return map;
    const same = Int32Array.from({length: T}, (_, t) => t), values = new Float32Array(T * T);
    for (let t = 0; t < T; t++) map.addRow(t, same, values.subarray(t * T, t * T + T), 1);
    return new weft.data.Dense(values, 0, T, 1,
                               maps[0].rests && Float32Array.from(same, (t) => map.rest(t)));
  }

  const rollouts = new Map(), means = new Map();
  // Abnar and Zuidema: the product over the layers of (A + I) / 2, A the heads' mean, rows made to
  // sum to 1 where only the largest weights were kept.
  function rollout(pass, causal) {
    if (rollouts.has(pass)) return rollouts.get(pass);
    const T = pass.tokens.length, same = Int32Array.from({length: T}, (_, t) => t);
    let before = new Float32Array(T * T), after = new Float32Array(T * T);
    for (let t = 0; t < T; t++) before[t * T + t] = 1;
    const row = new Float32Array(T);
    for (let layer = 0; layer < pass.maps.blobs.length; layer++) {
      const mean = new Mean(pass.entropy[layer].map((_, head) => weft.data.map(pass, layer, head)));
      for (let t = 0; t < T; t++) {
        row.fill(0);
        mean.addRow(t, same, row, 1);
        const half = 0.5 / (row.reduce((sum, w) => sum + w, 0) || 1);
        const out = after.subarray(t * T, t * T + T);
        for (let c = 0; c < T; c++) out[c] = 0.5 * before[t * T + c];
        for (let j = 0; j < T; j++) {
          const w = half * row[j];
          if (w < 1e-7) continue;
          for (let c = 0, at = j * T, end = causal ? j + 1 : T; c < end; c++) {
            out[c] += w * before[at + c];
          }
        }
      }
      [before, after] = [after, before];
    }
    const map = new weft.data.Dense(before, 0, T, 1);
    rollouts.set(pass, map);
    return map;
  }

  // One map between two axes, with a name and a colour.
  class Channel {
    constructor(map, rows, cols, name, color) {
      Object.assign(this, {map, rows, cols, name, color});
    }
    // The last row and column that were asked for are kept: drawn, then told of.
    row(r, into) {
      if (!into && this.lastRow?.r === r) return this.lastRow.out;
      const out = into || new Float32Array(this.cols.groups.length);
      if (into) into.fill(0);
      else this.lastRow = {r, out};
      const {from, to} = this.rows.groups[r];
      for (let t = from; t < to; t++) this.map.addRow(t, this.cols.of, out, this.rows.share[r]);
      return out;
    }
    column(c) {
      if (this.lastColumn?.c === c) return this.lastColumn.out;
      const out = new Float32Array(this.rows.groups.length), {from, to} = this.cols.groups[c];
      this.map.addColumn(from, to, this.rows.of, this.rows.share, out);
      this.lastColumn = {c, out};
      return out;
    }
    rest(r) {
      const {from, to} = this.rows.groups[r];
      let sum = 0;
      for (let t = from; t < to; t++) sum += this.map.rest(t);
      return sum * this.rows.share[r];
    }
    // All weights of at least `least`, as three arrays; kept, since a scroll asks again.
    edges(least) {
      if (this.kept && this.least === least) return this.kept;
      const r = [], c = [], w = [], row = new Float32Array(this.cols.groups.length);
      for (let i = 0; i < this.rows.groups.length; i++) {
        this.row(i, row);
        for (let j = 0; j < row.length; j++) {
          if (row[j] >= least) { r.push(i); c.push(j); w.push(row[j]); }
        }
      }
      this.least = least;
      return this.kept = {r, c, w};
    }
  }

  const heads = (pass) => pass.entropy[0].map((_, head) => head);
  const layers = (pass) => pass.entropy.map((_, layer) => layer);

  // The heads of a layer by number or, lowest first, by entropy.
  function ordered(pass, layer, order) {
    const by = pass.entropy[layer];
    return order === "entropy" ? heads(pass).sort((a, b) => by[a] - by[b]) : heads(pass);
  }

  // The map of a layer ("3", "mean" of the layers, "rollout") and a head (an index, or some).
  function mapOf(pane, layer, chosen) {
    const {pass} = pane;
    if (layer === "rollout") return rollout(pass, pane.model.causal);
    const from = layer === "mean" ? layers(pass) : [+layer];
    const maps = [].concat(chosen).flatMap((head) => from.map((l) => weft.data.map(pass, l, head)));
    if (maps.length === 1) return maps[0];
    if (!means.has(pass)) means.set(pass, new Map());
    const kept = means.get(pass), key = `${layer} ${chosen}`;
    if (kept.size > 64) kept.clear();
    if (!kept.has(key)) kept.set(key, mean(maps));
    return kept.get(key);
  }

  const layerName = (pane, layer) => layer === "mean" ? "Mean of the layers"
    : layer === "rollout" ? "Rollout" : `Layer ${pane.model.shown_layers[+layer]}`;
  const headName = (pane, head) => head === "mean" ? "mean of the heads"
    : `head ${pane.model.shown_heads[+head]}`;

  // A head of the matrix view and of a detail; "mean": of all heads.
  function single(pane, layer, head, color) {
    const {pass, rows, cols} = pane, all = heads(pass);
    const map = mapOf(pane, layer, head === "mean" ? all : +head);
    const name = layer === "rollout" ? "rollout" : headName(pane, head);
    return new Channel(map, rows, cols, name, color);
  }

  // The head view's: each chosen head, or their mean.
  function several(pane, layer, chosen, mean) {
    const {pass, rows, cols} = pane, n = heads(pass).length, accent = theme.accent;
    if (mean || layer === "rollout") {
      const name = layer === "rollout" ? "rollout" : `mean of ${chosen.length} heads`;
      return [new Channel(mapOf(pane, layer, chosen), rows, cols, name, colors.channels(accent))];
    }
    return chosen.map((head) => new Channel(mapOf(pane, layer, head), rows, cols,
                                            headName(pane, head), colors.one(head, n)));
  }

  // The keys [from, to) that a query group may see, under a mask and a window (0: none).
  function seen(causal, window, q, cols) {
    const first = (test) => {
      let low = 0, high = cols.length;
      while (low < high) {
        const mid = (low + high) >> 1;
        if (test(cols[mid])) high = mid;
        else low = mid + 1;
      }
      return low;
    };
    const ends = causal ? (k) => k.from > q.to - 1 : (k) => window && k.from - (q.to - 1) >= window;
    return [first((k) => !window || q.from - (k.to - 1) < window), first(ends)];
  }
  // What the model puts through its softmax.
  function score(pass, layer, product) {
    const x = pass.scale[layer] * product, cap = pass.softcap;
    return cap ? cap * Math.tanh(x / cap) : x;
  }
  const windowOf = (pass, layer) => /^\d+$/.test(layer) ? pass.windows[+layer] : 0;

  // 1: the largest of the row.
  function rank(row, c) {
    let larger = 1;
    for (let j = 0; j < row.length; j++) if (row[j] > row[c]) larger++;
    return larger;
  }

  // The n largest, as [index, weight], falling; nothing for weights of 0.
  function largest(row, n) {
    const order = [];
    for (let j = 0; j < row.length; j++) {
      const w = row[j];
      if (w <= 0 || (order.length === n && w <= order[n - 1][1])) continue;
      let at = order.length;
      while (at > 0 && order[at - 1][1] < w) at--;
      order.splice(at, 0, [j, w]);
      if (order.length > n) order.pop();
    }
    return order;
  }

  return {axes, steps, shownTokens, rollout, kRolloutTokens, Channel, heads, layers, layerName,
          headName, ordered, single, several, seen, score, windowOf, rank, largest};
})();
