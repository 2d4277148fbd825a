// One map as a heat map: queries down, keys across.
class MatrixPlot {
  constructor(host, label, hooks) {
    this.hooks = hooks;
    this.hovered = this.pinned = this.linked = null;
    this.stage = new Stage(host, label, this);
  }

  // {rows, cols, channel, causal, window (of a mask), threshold, strength, scale, zoom}
  set(data) {
    Object.assign(this, data);
    this.mask = data.window;
    const ctx = this.stage.ctx;
    ctx.font = font(12);
    this.left = Math.min(150, widest(ctx, data.rows, 20) + 12);
    this.top = Math.min(120, widest(ctx, data.cols, 20) + 12);
    this.rest = hasRest(data.channel) ? 40 : 0;
    this.base = null;
    this.stage.fit();
  }

  fit(width) {
    const [nr, nc] = [this.rows.groups.length, this.cols.groups.length];
    const all = Math.min(28, (width - this.left - this.rest - 4) / nc,
                         (this.stage.high - this.top - 4) / nr);
    this.whole = all >= 2 ? Math.floor(all) : all;
    this.cell = this.zoom || this.whole;
  }

  size() {
    return [this.left + this.cols.groups.length * this.cell + this.rest + 4,
            this.top + this.rows.groups.length * this.cell + 4];
  }

  where({q, k}) {
    return [this.left + ((k ?? 0) + 0.5) * this.cell, this.top + ((q ?? 0) + 0.5) * this.cell];
  }

  at(x, y, window) {
    const k = Math.floor((x + window.x - this.left) / this.cell);
    const q = Math.floor((y + window.y - this.top) / this.cell);
    const row = y >= this.top && q < this.rows.groups.length ? q : null;
    const inside = x >= this.left && x < window.w - this.rest && k < this.cols.groups.length;
    return row === null && !inside ? null : {q: row, k: inside ? k : null};
  }

  hover(place, event) {
    const old = this.hovered;
    if (place?.q !== old?.q || place?.k !== old?.k) {
      this.hovered = place;
      this.stage.paint();
    }
    this.hooks.hover(place, event);
  }

  click(place) {
    const pin = this.pinned;
    this.hooks.pin(!place || (pin && pin.q === place.q && pin.k === place.k) ? null : place);
  }

  wheel(event) {
    this.zoomTo(this.cell * (event.deltaY < 0 ? 1.25 : 0.8), event.offsetX, event.offsetY);
    return true;
  }

  // Keeps the cell under (x, y) where it is.
  zoomTo(cell, x = this.stage.window.w / 2, y = this.stage.window.h / 2) {
    const {window, box} = this.stage, old = this.cell;
    const [column, row] = [(window.x + x - this.left) / old, (window.y + y - this.top) / old];
    const size = clamp(cell, Math.min(this.whole, 28), 40);
    this.hooks.zoom(size <= this.whole ? 0 : +size.toFixed(2));
    box.scrollTo(this.left + column * this.cell - x, this.top + row * this.cell - y);
  }

  key(event) {
    const {key, shiftKey} = event;
    if (key === "+" || key === "=") { this.zoomTo(this.cell * 1.25); return true; }
    if (key === "-" || key === "−") { this.zoomTo(this.cell * 0.8); return true; }
    if (key === "0") { this.zoomTo(0); return true; }
    if (key === "Escape") { this.hooks.pin(null); this.hover(null, null); return true; }
    const from = this.hovered || this.pinned;
    if (key === "Enter" || key === " ") { this.click(from); return true; }
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[key];
    if (!step || shiftKey) return false;
    const [nr, nc] = [this.rows.groups.length, this.cols.groups.length];
    this.hovered = from ? {q: clamp((from.q ?? 0) + step[0], 0, nr - 1),
                           k: clamp((from.k ?? 0) + step[1], 0, nc - 1)} : {q: 0, k: 0};
    const [x, y] = this.stage.reveal(this.hovered, Math.max(this.left, this.top) + 20);
    this.stage.paint();
    this.hooks.hover(this.hovered, event, x, y);
    return true;
  }

  link(place) {
    this.linked = place;
    this.stage.paint();
  }

  // How strong a weight is drawn, 0 to 1; `most`: the row's largest.
  shade(w, most) {
    if (w <= 0 || w < this.threshold) return 0;
    const x = this.scale === "row" ? w / most : Math.min(1, w * this.strength);
    return this.scale === "root" ? Math.sqrt(x) : x;
  }

  // Calls each(r, c, shade) for what may be seen in [r0, r1) x [c0, c1), masked(r, from, to) for
  // what a mask hides.
  cells([r0, r1, c0, c1], each, masked) {
    const row = new Float32Array(this.cols.groups.length);
    for (let r = r0; r < r1; r++) {
      const [lo, hi] = derived.seen(this.causal, this.mask, this.rows.groups[r],
                                         this.cols.groups);
      if (lo > c0) masked(r, c0, Math.min(lo, c1));
      if (hi < c1) masked(r, Math.max(hi, c0), c1);
      this.channel.row(r, row);
      let most = 0;
      for (let c = 0; c < row.length; c++) if (row[c] > most) most = row[c];
      for (let c = Math.max(lo, c0), end = Math.min(hi, c1); c < end; c++) {
        each(r, c, this.shade(row[c], most));
      }
    }
  }

  // The cells that a window shows.
  range(window) {
    const bound = (x, n) => clamp(x, 0, n), {cell} = this;
    const [nr, nc] = [this.rows.groups.length, this.cols.groups.length];
    return [bound(Math.floor(window.y / cell), nr),
            bound(Math.ceil((window.y + window.h - this.top) / cell), nr),
            bound(Math.floor(window.x / cell), nc),
            bound(Math.ceil((window.x + window.w - this.left) / cell), nc)];
  }

  // Shades (h, w) as a canvas; below 0: never seen.
  image(w, h, shades) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [w, h];
    const into = canvas.getContext("2d"), pixels = into.createImageData(w, h);
    const [color, never] = [theme.accent, theme.stripe].map(colors.channels);
    for (let at = 0; at < w * h; at++) {
      pixels.data.set(shades[at] < 0 ? never : color, 4 * at);
      pixels.data[4 * at + 3] = shades[at] < 0 ? 255 : Math.round(255 * shades[at]);
    }
    into.putImageData(pixels, 0, 0);
    return canvas;
  }

  // A pixel a cell, or the largest of the cells that share a pixel; `rest`: a pixel a row.
  images(range) {
    const [r0, r1, c0, c1] = range, s = Math.min(1, this.cell);
    const w = Math.max(1, Math.ceil((c1 - c0) * s)), h = Math.max(1, Math.ceil((r1 - r0) * s));
    const shades = new Float32Array(w * h).fill(-1), rests = new Float32Array(h);
    this.cells(range, (r, c, shade) => {
      const at = Math.floor((r - r0) * s) * w + Math.floor((c - c0) * s);
      if (shade > shades[at]) shades[at] = shade;
    }, () => {});
    for (let r = r0; r < r1 && this.rest; r++) {
      const at = Math.floor((r - r0) * s);
      rests[at] = Math.max(rests[at], this.shade(this.channel.rest(r), 1));
    }
    return {canvas: this.image(w, h, shades), rest: this.image(1, h, rests)};
  }

  drawCells(ctx, window) {
    const range = this.range(window), [r0, r1, c0, c1] = range, {cell} = this;
    const x = this.left + c0 * cell - window.x, y = this.top + r0 * cell - window.y;
    if (ctx.vector && (r1 - r0) * (c1 - c0) <= 40000) {
      const color = colors.channels(theme.accent);
      this.cells(range, (r, c, shade) => {
        if (shade < 0.004) return;
        fill(ctx, colors.css(color, shade), x + (c - c0) * cell, y + (r - r0) * cell, cell, cell);
      }, (r, from, to) => {
        fill(ctx, theme.stripe, x + (from - c0) * cell, y + (r - r0) * cell, (to - from) * cell,
             cell);
      });
      return;
    }
    this.kept(range);
    const s = cell < 1 ? 1 : cell, {canvas} = this.base;
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(canvas, x, y, canvas.width * s, canvas.height * s);
  }

  kept(range) {
    const key = range.join();
    if (this.base?.key !== key) this.base = {key, ...this.images(range)};
  }

  paint(ctx, window) {
    if (!this.channel) return;
    const {left, top, cell} = this, rows = this.rows.groups;
    const cols = this.cols.groups, ox = left - window.x, oy = top - window.y;
    const right = Math.min(window.w - this.rest, ox + cols.length * cell);
    const bottom = Math.min(window.h, oy + rows.length * cell);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, right - left, bottom - top);
    ctx.clip();
    this.drawCells(ctx, window);
    const places = [[this.linked, theme.faint], [this.pinned, theme.accent],
                    [this.hovered, theme.ink]].filter(([place]) => place);
    for (const [place, color] of places) {
      ctx.strokeStyle = color;
      ctx.lineWidth = 1;
      const w = Math.max(3, cell);
      if (place.q !== null) ctx.strokeRect(left, oy + place.q * cell - 0.5, right - left, w);
      if (place.k !== null) ctx.strokeRect(ox + place.k * cell - 0.5, top, w, bottom - top);
    }
    ctx.restore();
    frame(ctx, theme.rule, 1, left - 0.5, top - 0.5, right - left + 1, bottom - top + 1);
    if (this.rest) this.drawRest(ctx, window, right, bottom);
    this.drawLabels(ctx, window, places, right, bottom);
  }

  drawRest(ctx, window, right, bottom) {
    const range = this.range(window), x = right + 6, s = Math.max(1, this.cell);
    this.kept(range);
    const {rest} = this.base, y = this.top + range[0] * this.cell - window.y;
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, this.top, 14, bottom - this.top);
    ctx.clip();
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(rest, x, y, 14, rest.height * s);
    ctx.restore();
    frame(ctx, theme.rule, 1, x - 0.5, this.top - 0.5, 15, bottom - this.top + 1);
    write(ctx, font(12), theme.faint, "center", "rest", x + 8, this.top - 10);
  }

  drawLabels(ctx, window, places, right, bottom) {
    const {left, top, cell} = this, every = Math.max(1, Math.ceil(13 / cell));
    const [r0, r1, c0, c1] = this.range(window);
    const label = (side, i, strong) => {
      const group = (side ? this.cols : this.rows).groups[i];
      const at = (side ? left - window.x : top - window.y) + (i + 0.5) * cell;
      if (at < (side ? left : top) || at > (side ? right : bottom)) return;
      ctx.save();
      if (side) ctx.translate(at, top - 5);
      else ctx.translate(left - 5, at);
      if (side) ctx.rotate(-Math.PI / 2);
      const room = (side ? top : left) - 8;
      if (strong) {
        fill(ctx, theme.mark, side ? -4 : -room - 3, -8, room + 7, 16);
      }
      write(ctx, font(12, strong), strong ? theme.ink : theme.faint, side ? "left" : "right",
            group.label, 0, 0, room);
      ctx.restore();
    };
    for (let r = Math.ceil(r0 / every) * every; r < r1; r += every) label(0, r, false);
    for (let c = Math.ceil(c0 / every) * every; c < c1; c += every) label(1, c, false);
    for (const [place] of places) {
      if (place.q !== null) label(0, place.q, true);
      if (place.k !== null) label(1, place.k, true);
    }
  }

  remove() { this.stage.remove(); }
}

weft.views.matrix = (pane) => {
  const plot = new MatrixPlot(pane.box, `Matrix of ${pane.model.name}`, {
    ...main.hooks(pane),
    zoom: (zoom) => state.set({zoom})
  });
  const ramp = el("b"), most = el("span");
  const never = el("span", {}, el("b", {class: "seen"}), " never seen");
  pane.box.append(el("p", {class: "legend"}, el("span", {}, "0 ", ramp, " ", most), never,
                          el("span", {}, "rows: queries; columns: keys")));
  return {
    plot,
    update() {
      const {threshold, strength, scale, zoom} = state.values;
      const channel = derived.single(pane, pane.layer(), pane.head(true));
      pane.channels = [channel];
      plot.pinned = main.pinOf(pane);
      plot.set({rows: pane.rows, cols: pane.cols, channel, causal: pane.model.causal,
                window: pane.window(), threshold, strength, scale, zoom});
      const color = colors.channels(theme.accent), top = 1 / strength;
      ramp.style.background = `linear-gradient(90deg, ${Array.from({length: 9}, (_, i) =>
        colors.css(color, plot.shade(i / 8 * (scale === "row" ? 1 : top), 1))).join()})`;
      most.textContent = scale === "row" ? "the row's largest" : `${+top.toFixed(2)}`
        + (scale === "root" ? " (square root)" : "");
      never.hidden = !pane.model.causal && !pane.window();
    },
    link: (place) => plot.link(place),
    remove: () => plot.remove()
  };
};
