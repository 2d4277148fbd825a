// Where a weight comes from: query, key, their product by dimension, the score, the softmax.
class NeuronPlot {
  static kRow = 22;
  static kTop = 26;

  // hooks: hover(told, event, x, y), query(q), close(), pin
  constructor(host, label, hooks) {
    this.hooks = hooks;
    this.stage = new Stage(host, label, this);
    this.hovered = null;
  }

  // {pane, channel, layer (an index), q (the query shown), D, query(t, d), keys(t, d)}
  set(data) {
    Object.assign(this, data);
    this.rows = data.pane.rows.groups;
    this.cols = data.pane.cols.groups;
    const {ctx} = this.stage;
    ctx.font = font(13);
    this.names = Math.min(130, widest(ctx, data.pane.rows, widest(ctx, data.pane.cols, 40)) + 16);
    this.stage.fit();
  }

  fit(width) {
    const strip = Math.floor((width - 2 * this.names - 22 - 60 - 2 * 72 - 4 * 12 - 6) / 3);
    this.strip = clamp(strip, 64, 300);
    const x = {minus: 2, query: this.names + 22};
    x.keys = x.query + this.strip + 60;
    x.product = x.keys + this.strip + 12;
    x.score = x.product + this.strip + 12;
    x.softmax = x.score + 72 + 12;
    x.names = x.softmax + 72 + 6;
    this.x = x;
  }

  size() {
    const {kRow, kTop} = NeuronPlot;
    const n = Math.max(this.rows.length, this.cols.length);
    return [this.x.names + this.names, kTop + n * kRow + 6];
  }
  middle(i) { return NeuronPlot.kTop + (i + 0.5) * NeuronPlot.kRow; }
  where({q, k}) {
    return q !== null ? [this.names - 20, this.middle(q)] : [this.x.keys + 20, this.middle(k)];
  }

  at(x, y, window) {
    const i = Math.floor((y + window.y - NeuronPlot.kTop) / NeuronPlot.kRow);
    x += window.x;
    if (y < NeuronPlot.kTop || i < 0) return null;
    if (x < this.x.query) return i < this.rows.length ? {q: i, k: null, x} : null;
    if (x < this.x.keys || i >= this.cols.length) return null;
    const inside = (from) => x >= from && x < from + this.strip
      ? Math.floor((x - from) / this.strip * this.D) : null;
    return {q: null, k: i, d: inside(this.x.keys) ?? inside(this.x.product)};
  }

  product(k) {
    let sum = 0;
    for (let d = 0; d < this.D; d++) sum += this.query(d) * this.keys(k, d);
    return sum;
  }

  hover(place, event, x, y) {
    this.hovered = place;
    if (place && place.q !== null && place.q !== this.q) this.hooks.query(place.q);
    else this.stage.paint();
    this.stage.canvas.style.cursor = place && place.q !== null ? "pointer" : "";
    this.hooks.hover(place && place.k !== null ? this.describe(place) : null, event, x, y);
  }

  describe({k, d}) {
    const {pane, q} = this, name = tooltip.named, [from, to] = this.seen();
    const title = `query ${name(this.rows[q])} → key ${name(this.cols[k])}`;
    const number = (x) => x.toPrecision(4), lines = [];
    if (d !== null) {
      lines.push([null, `dimension ${d}: q`, number(this.query(d)), ""],
                 [null, `dimension ${d}: k`, number(this.keys(k, d)), ""],
                 [null, `dimension ${d}: q × k`, number(this.query(d) * this.keys(k, d)), ""]);
    }
    const product = this.product(k);
    lines.push([null, "q · k", number(product), ""]);
    if (k < from || k >= to) return {title, notes: ["masked: never seen"], lines};
    const score = derived.score(pane.pass, this.layer, product), w = this.weights[k];
    lines.push([null, "score", number(score), this.formula()]);
    lines.push([null, "weight", w, w > 0 || !pane.pass.maps.k
      ? `rank ${derived.rank(this.weights, k)} of ${to - from}` : "not kept"]);
    return {title, notes: [], lines};
  }

  formula() {
    const {softcap, scale} = this.pane.pass, s = +scale[this.layer].toPrecision(4);
    return softcap ? `${softcap} tanh(${s} q·k / ${softcap})` : `${s} q·k`;
  }

  seen() {
    const {pane} = this;
    return derived.seen(pane.model.causal, derived.windowOf(pane.pass, String(this.layer)),
                             this.rows[this.q], this.cols);
  }

  click(place) {
    if (!place || place.q === null) return;
    if (place.x < 20 && place.q === this.q) this.hooks.close();
    else this.hooks.pin(place.q);
  }

  key(event) {
    const step = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (event.key === "-" || event.key === "Escape") this.hooks.close();
    else if (event.key === "Enter" || event.key === " ") this.hooks.pin(this.q);
    else if (step && !event.shiftKey) {
      this.hooks.query(clamp(this.q + step, 0, this.rows.length - 1));
      const [x, y] = this.stage.reveal({q: this.q, k: null});
      this.hooks.asked(this.q, event, x, y);
    } else return false;
    return true;
  }

  // Blue: positive, orange: negative; n rows of D values.
  strips(ctx, x, y, n, value) {
    const {D, strip} = this, {kRow} = NeuronPlot;
    const hues = [theme.positive, theme.negative].map(colors.channels);
    const alpha = (v) => Math.tanh(Math.abs(v) / 4);
    if (ctx.vector) {
      for (let i = 0; i < n; i++) for (let d = 0; d < D; d++) {
        const v = value(i, d);
        if (alpha(v) < 0.004) continue;
        fill(ctx, colors.css(hues[v < 0 ? 1 : 0], alpha(v)), x + d * strip / D, y + i * kRow + 2,
             strip / D, kRow - 4);
      }
    } else if (n > 0) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [D, n];
      const into = canvas.getContext("2d"), pixels = into.createImageData(D, n);
      for (let i = 0, at = 0; i < n; i++) for (let d = 0; d < D; d++, at += 4) {
        const v = value(i, d);
        pixels.data.set(hues[v < 0 ? 1 : 0], at);
        pixels.data[at + 3] = Math.round(255 * alpha(v));
      }
      into.putImageData(pixels, 0, 0);
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(canvas, x, y, strip, n * kRow);
      ctx.fillStyle = theme.paper;
      for (let i = 0; i <= n; i++) ctx.fillRect(x, y + i * kRow - 2, strip, 4);
    }
    ctx.strokeStyle = theme.rule;
    ctx.lineWidth = 1;
    for (let i = 0; i < n; i++) ctx.strokeRect(x - 0.5, y + i * kRow + 1.5, strip + 1, kRow - 3);
  }

  paint(ctx, window) {
    if (!this.pane) return;
    const {kRow, kTop} = NeuronPlot, {x, strip, q} = this;
    const first = Math.max(0, Math.floor(window.y / kRow) - 1);
    const last = (n) => Math.min(n, Math.ceil((window.y + window.h - kTop) / kRow));
    const top = kTop + first * kRow - window.y, end = last(this.cols.length),
        [from, to] = this.seen();
    this.weights = this.channel.row(q);
    ctx.save();
    ctx.translate(-window.x, 0);
    // The query's strip stays in sight.
    const here = clamp(this.middle(q) - window.y, kTop + kRow / 2, window.h - kRow / 2);
    this.strips(ctx, x.query, here - kRow / 2, 1, (_, d) => this.query(d));
    const accent = colors.channels(theme.accent);
    ctx.lineWidth = 1.5;
    for (let k = first; k < end; k++) {
      const alpha = Math.tanh(1.8 * this.weights[k]);
      if (alpha < 0.01) continue;
      ctx.strokeStyle = colors.css(accent, alpha);
      ctx.beginPath();
      ctx.moveTo(x.query + strip + 3, here);
      ctx.lineTo(x.keys - 3, this.middle(k) - window.y);
      ctx.stroke();
    }
    this.strips(ctx, x.keys, top, end - first, (i, d) => this.keys(first + i, d));
    this.strips(ctx, x.product, top, end - first,
                (i, d) => this.query(d) * this.keys(first + i, d));
    for (let k = first; k < end; k++) {
      const y = this.middle(k) - window.y, hidden = k < from || k >= to;
      const cell = (at, back, text, ink) => {
        fill(ctx, back, at, y - kRow / 2 + 1.5, 72, kRow - 3);
        frame(ctx, theme.rule, 1, at + 0.5, y - kRow / 2 + 1.5, 71, kRow - 3);
        write(ctx, font(13), ink, "center", text, at + 36, y);
      };
      if (hidden) {
        cell(x.score, theme.stripe, "masked", theme.faint);
        cell(x.softmax, theme.stripe, "masked", theme.faint);
      } else {
        const score = derived.score(this.pane.pass, this.layer, this.product(k));
        const color = colors.channels(score < 0 ? theme.negative : theme.positive);
        cell(x.score, colors.css(color, 0.5 * Math.tanh(Math.abs(score) / 4)),
             score.toFixed(2), theme.ink);
        const w = this.weights[k], kept = w > 0 || !this.pane.pass.maps.k;
        cell(x.softmax, colors.css(accent, 0.5 * w), kept ? tooltip.number(w) : "not kept",
             kept ? theme.ink : theme.faint);
      }
      write(ctx, font(13, this.hovered?.k === k), hidden ? theme.faint : theme.ink, "left",
            this.cols[k].label, x.names + 4, y, this.names - 8);
    }
    for (let i = first; i < last(this.rows.length); i++) {
      const y = this.middle(i) - window.y;
      if (i === q) {
        fill(ctx, theme.mark, 20, y - kRow / 2 + 1, this.names - 2, kRow - 2);
        fill(ctx, theme.accent, 2, y - 8, 16, 16);
        fill(ctx, theme.paper, 5, y - 1, 10, 2);
      }
      write(ctx, font(13, i === q), theme.ink, "right", this.rows[i].label, this.names + 14, y,
            this.names - 8);
    }
    fill(ctx, theme.paper, window.x, 0, window.w, kTop);
    for (const [text, at] of [["Query q", x.query + strip / 2], ["Key k", x.keys + strip / 2],
                              ["q × k", x.product + strip / 2], ["Score", x.score + 36],
                              ["Softmax", x.softmax + 36]]) {
      write(ctx, font(13), theme.faint, "center", text, at, kTop / 2);
    }
    ctx.restore();
  }

  remove() { this.stage.remove(); }
}

weft.views.neuron = (pane) => {
  let plot = null, kind = "", now = -1, data = null;
  const missing = el("p", {class: "missing", hidden: true});
  const formula = el("p", {class: "legend"});
  const toggle = el("button", {onclick: () => state.set({
    open: state.values.open >= 0 ? -1 : main.pinOf(pane)?.q ?? pane.rows.groups.length - 1})});
  const bar = el("div", {class: "controls"}, toggle, formula);
  pane.box.append(missing, bar);
  const hooks = main.hooks(pane);
  const make = (wanted) => {
    if (kind === wanted) return;
    const focused = plot && document.activeElement === plot.stage.canvas;
    plot?.remove();
    kind = wanted;
    const label = `Neuron view of ${pane.model.name}`;
    plot = kind === "open"
      ? new NeuronPlot(pane.box, label, {
        hover: (told, event, x, y) => main.told(told, event, x, y),
        asked: (q, event, x, y) => hooks.hover({q, k: null}, event, x, y),
        query, pin: (q) => state.set({open: q}), close: () => state.set({open: -1})})
      : new HeadPlot(pane.box, label, {
        ...hooks, open: ({q}) => state.set({open: q})});
    if (focused) plot.stage.canvas.focus();
  };
  // Shows another query; the address keeps the one that was clicked.
  function query(q) {
    now = q;
    const t = pane.rows.groups[q].from;
    plot.set({...data, q, query: (d) => data.vectors.q(t, d),
              keys: (k, d) => data.vectors.k(pane.cols.groups[k].from, d)});
    main.link(pane, {q, k: null});
  }
  return {
    get plot() { return plot; },
    query,
    update() {
      const {threshold, strength, open} = state.values, {pass, model} = pane;
      const layer = +pane.layer(), head = +pane.head(false);
      const vectors = weft.data.vectors(model, pass, layer, head);
      const color = colors.channels(theme.accent);
      const channel = derived.single(pane, String(layer), head, color);
      pane.channels = [channel];
      missing.hidden = Boolean(vectors);
      if (!vectors) missing.textContent = `Queries and keys are not here: ${pass.vectors.missing}`;
      const opened = open >= 0 && vectors;
      toggle.disabled = !vectors;
      toggle.textContent = opened ? "− Close" : "+ Query, key and product";
      make(opened ? "open" : "closed");
      data = {pane, channel, layer, D: model.head_dim, vectors};
      if (opened) query(Math.min(open, pane.rows.groups.length - 1));
      else {
        plot.pinned = main.pinOf(pane);
        plot.set({...pane.layout, channels: pane.channels, threshold, strength,
                  plus: Boolean(vectors)});
      }
      const cap = pass.softcap, scale = +pass.scale[layer].toPrecision(4),
          window = pass.windows[layer];
      formula.textContent = "score = "
        + (cap ? `${cap} tanh(${scale} q·k / ${cap})` : `${scale} q·k`)
        + (window ? `; a window of ${window} tokens` : "")
        + (opened ? "; blue: positive, orange: negative" : "");
    },
    get now() { return now; },
    link: (place) => plot?.link?.(place),
    remove: () => plot.remove()
  };
};
