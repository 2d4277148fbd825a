// Tokens left (queries) and right (keys), a line for each weight: the head view, and one head of
// the model and neuron views.
class HeadPlot {
  static kRow = 20;     // pixels a token
  static kFaintest = 0.012;  // lines below this opacity are not drawn

  // hooks: hover(place, event, x, y), pin(place), open(place): the "+" of the neuron view
  constructor(host, label, hooks) {
    this.hooks = hooks;
    this.hovered = this.linked = this.pinned = null;
    this.stage = new Stage(host, label, this);
  }

  // {rows, cols, y: [rows' places, cols' places] in token rows, tall: their number, channels,
  //  threshold, strength, plus}
  set(data) {
    Object.assign(this, data);
    const ctx = this.stage.ctx;
    ctx.font = font(13);
    this.label = [data.rows, data.cols].map((axis) => Math.min(220, widest(ctx, axis, 30) + 14));
    this.rest = this.channels.some(hasRest);
    this.base = null;
    this.stage.fit();
  }

  fit(width) {
    this.left = this.label[0] + (this.plus ? 22 : 4);
    const room = Math.max(90, width - this.left - this.label[1] - 6);
    this.right = this.left + Math.min(room, 620);
    this.width = this.right + this.label[1];
  }

  size() { return [this.width, this.tall * HeadPlot.kRow + 8 + (this.rest ? 26 : 0)]; }
  middle(side, i) { return 4 + (this.y[side][i] + 0.5) * HeadPlot.kRow; }
  where({q, k}) {
    return q !== null ? [this.left - 30, this.middle(0, q)] : [this.right + 30, this.middle(1, k)];
  }

  // The group at a height, by its place; -1: none.
  nearest(side, y) {
    const places = this.y[side], at = (y - 4) / HeadPlot.kRow;
    let low = 0, high = places.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (places[mid] <= at) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  }

  at(x, y, window) {
    x += window.x;
    const side = x <= this.left && x > 0 ? 0 : x >= this.right && x <= this.width ? 1 : -1;
    const i = side < 0 || y + window.y > 4 + this.tall * HeadPlot.kRow ? -1
      : this.nearest(side, y + window.y);
    return i < 0 ? null : side ? {q: null, k: i} : {q: i, k: null};
  }

  get focus() { return this.pinned || this.hovered || this.linked; }

  hover(place, event) {
    const same = place && this.hovered && place.q === this.hovered.q && place.k === this.hovered.k;
    if (!same && (place || this.hovered)) {
      this.hovered = place;
      this.stage.paint();
    }
    this.stage.canvas.style.cursor = place ? "pointer" : "";
    this.hooks.hover(this.told(place), event);
  }

  // With one side pinned and the other pointed at, the pair is meant.
  told(place) {
    const pin = this.pinned;
    if (!place || !pin) return place;
    if (pin.q !== null && place.k !== null) return {q: pin.q, k: place.k};
    return pin.k !== null && place.q !== null ? {q: place.q, k: pin.k} : place;
  }

  click(place, event) {
    if (place && this.plus && place.q !== null && event.offsetX + this.stage.window.x < 22) {
      return this.hooks.open(place);
    }
    const pin = this.pinned;
    this.hooks.pin(!place || (pin && pin.q === place.q && pin.k === place.k) ? null : place);
  }

  key(event) {
    const from = this.hovered || this.pinned || {q: 0, k: null}, side = from.q !== null ? 0 : 1;
    const count = [this.rows.groups.length, this.cols.groups.length];
    const i = side ? from.k : from.q;
    const step = {ArrowUp: -1, ArrowDown: 1, Home: -count[side], End: count[side]}[event.key];
    let to = null;
    if (event.shiftKey && event.key.startsWith("Arrow")) return false;
    if (step) to = [side, this.hovered || this.pinned ? i + step : 0];
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const other = event.key === "ArrowRight" ? 1 : 0;
      to = [other, this.nearest(other, this.middle(side, i))];
    } else if (event.key === "Enter" || event.key === " ") {
      this.click(from, {offsetX: 1e6});
      return true;
    } else if (event.key === "Escape") {
      this.hooks.pin(null);
      this.hover(null, null);
      return true;
    } else if (event.key === "+" && this.plus) {
      this.hooks.open(from.q !== null ? from : {q: 0, k: null});
      return true;
    }
    if (!to) return false;
    const at = clamp(to[1], 0, count[to[0]] - 1);
    this.hovered = to[0] ? {q: null, k: at} : {q: at, k: null};
    const [x, y] = this.stage.reveal(this.hovered);
    this.stage.paint();
    this.hooks.hover(this.told(this.hovered), event, x, y);
    return true;
  }

  // What another picture points at.
  link(place) {
    this.linked = place;
    this.stage.paint();
  }

  // Lines [channel, left end, right end, opacity], a path for each colour and step of opacity; of
  // more than `most` the strongest. Thin ones are drawn many times faster: few are wide.
  stroke(ctx, window, lines, most) {
    const kLevels = 32, paths = new Map(), counts = new Array(kLevels).fill(0);
    const level = (alpha) => Math.min(kLevels - 1, Math.floor(alpha * kLevels));
    for (const line of lines) counts[level(line[3])]++;
    let least = kLevels - 1;
    let sum = counts[least];
    while (least > 0 && sum + counts[least - 1] <= most) sum += counts[--least];
    const [x0, x1] = [this.left + 2, this.right - 2];
    for (const [channel, y0, y1, alpha] of lines) {
      if (level(alpha) < least) continue;
      // cut at the window's edges
      const cut = (edge) => (edge - y0) / (y1 - y0),
          ends = [cut(-4), cut(window.h + 4)].sort((a, b) => a - b);
      const [from, to] = y0 === y1 ? [0, 1] : [Math.max(0, ends[0]), Math.min(1, ends[1])];
      const key = channel * kLevels + level(alpha);
      if (!paths.has(key)) paths.set(key, []);
      paths.get(key).push(x0 + from * (x1 - x0), y0 + from * (y1 - y0), x0 + to * (x1 - x0),
                          y0 + to * (y1 - y0));
    }
    for (const [key, ends] of [...paths].sort((a, b) => a[0] % kLevels - b[0] % kLevels)) {
      const alpha = (key % kLevels + 0.5) / kLevels;
      ctx.strokeStyle = colors.css(this.channels[Math.floor(key / kLevels)].color, alpha);
      ctx.lineWidth = alpha > 0.3 && lines.length < 400 ? 2 : 1;
      ctx.beginPath();
      for (let e = 0; e < ends.length; e += 4) {
        ctx.moveTo(ends[e], ends[e + 1]);
        ctx.lineTo(ends[e + 2], ends[e + 3]);
      }
      ctx.stroke();
    }
  }

  all(ctx, window) {
    const n = this.channels.length, lines = [];
    const least = Math.max(this.threshold, HeadPlot.kFaintest * n / this.strength);
    this.channels.forEach((channel, at) => {
      const {r, c, w} = channel.edges(least);
      for (let e = 0; e < w.length; e++) {
        const y0 = this.middle(0, r[e]) - window.y, y1 = this.middle(1, c[e]) - window.y;
        if ((y0 < 0 && y1 < 0) || (y0 > window.h && y1 > window.h)) continue;
        lines.push([at, y0, y1, Math.min(1, w[e] * this.strength / n)]);
      }
    });
    this.stroke(ctx, window, lines, 20000);
  }

  // All lines, kept as an image until the window or the data change.
  background(ctx, window) {
    if (ctx.vector) return this.all(ctx, window);
    const key = [window.x, window.y, window.w, window.h, ctx.canvas.width].join();
    if (!this.base || this.base.key !== key) {
      const canvas = document.createElement("canvas"), into = canvas.getContext("2d");
      [canvas.width, canvas.height] = [ctx.canvas.width, ctx.canvas.height];
      into.setTransform(ctx.getTransform());
      into.translate(-window.x, 0);
      this.all(into, window);
      this.base = {key, canvas};
    }
    ctx.drawImage(this.base.canvas, window.x, 0, window.w, window.h);
  }

  // The lines of one token, and the other side's stripes: a stripe a channel.
  focused(ctx, window, place) {
    const {channels, threshold, strength} = this, n = channels.length;
    const side = place.q !== null ? 0 : 1, i = side ? place.k : place.q;
    const from = this.middle(side, i) - window.y, row = HeadPlot.kRow;
    const x = side ? this.left - this.label[0] : this.right, width = this.label[1 - side];
    const places = this.y[1 - side], lines = [];
    channels.forEach((channel, at) => {
      const weights = side ? channel.column(i) : channel.row(i);
      const shift = ((at + 0.5) / n - 0.5) * row * 0.7;
      for (let j = 0; j < weights.length; j++) {
        const w = weights[j];
        if (w <= 0 || w < threshold) continue;
        const y = 4 + (places[j] + 0.5) * row - window.y, alpha = Math.min(1, w * strength);
        if (alpha < HeadPlot.kFaintest) continue;
        if (y > -row && y < window.h + row) {
          fill(ctx, colors.css(channel.color, alpha * 0.62), x + at * width / n, y - row / 2 + 1,
               width / n, row - 2);
        }
        if ((y > -row || from > 0) && (y < window.h + row || from < window.h)) {
          lines.push(side ? [at, y + shift, from, alpha] : [at, from, y + shift, alpha]);
        }
      }
    });
    this.stroke(ctx, window, lines, ctx.vector ? 20000 : 200);
  }

  // The weight of all keys that were not kept, at the foot of the keys.
  drawRest(ctx, window, i) {
    const n = this.channels.length, y = window.h - 25, width = this.label[1] / n;
    fill(ctx, theme.paper, this.right, y - 3, this.label[1], 28);
    this.channels.forEach((channel, at) => {
      fill(ctx, colors.css(channel.color, channel.rest(i) * 0.62), this.right + at * width, y,
           width, 22);
    });
    frame(ctx, theme.edge, 1, this.right + 0.5, y + 0.5, this.label[1] - 1, 21);
    const rest = this.channels.reduce((sum, c) => sum + c.rest(i) / n, 0);
    write(ctx, font(13), theme.ink, "left", `rest ${tooltip.number(rest)}`, this.right + 6,
          y + 11.5,
          this.label[1] - 10);
  }

  paint(ctx, window) {
    if (!this.channels) return;
    const {focus} = this, row = HeadPlot.kRow;
    ctx.save();
    ctx.translate(-window.x, 0);
    const boxes = [this.pinned, this.hovered, this.linked].filter(Boolean);
    for (const place of boxes) {
      for (const [side, i] of [[0, place.q], [1, place.k]]) {
        if (i === null) continue;
        const x = side ? this.right : this.left - this.label[0], w = this.label[side];
        fill(ctx, theme.mark, x, this.middle(side, i) - row / 2 - window.y, w, row);
        if (place === this.pinned) {
          frame(ctx, theme.accent, 1.5, x + 1, this.middle(side, i) - row / 2 - window.y + 1,
                w - 2, row - 2);
        }
      }
    }
    if (focus) this.focused(ctx, window, focus);
    else this.background(ctx, window);
    [this.rows, this.cols].forEach(({groups}, side) => {
      const first = Math.max(0, this.nearest(side, window.y));
      for (let i = first; i < groups.length; i++) {
        const y = this.middle(side, i) - window.y;
        if (y > window.h + row) break;
        const strong = boxes.some((place) => (side ? place.k : place.q) === i);
        write(ctx, font(13, strong), theme.ink, side ? "left" : "right", groups[i].label,
              side ? this.right + 6 : this.left - 6, y, this.label[side] - 10);
        if (!side && strong && this.plus) {
          fill(ctx, theme.accent, 2, y - 8, 16, 16);
          fill(ctx, theme.paper, 5, y - 1, 10, 2);
          ctx.fillRect(9, y - 5, 2, 10);
        }
      }
    });
    if (focus && focus.q !== null && this.rest) this.drawRest(ctx, window, focus.q);
    ctx.restore();
  }

  remove() { this.stage.remove(); }
}

weft.views.head = (pane) => {
  const plot = new HeadPlot(pane.box, `Head view of ${pane.model.name}`, main.hooks(pane));
  return {
    plot,
    update() {
      const {threshold, strength, mean} = state.values;
      pane.channels = derived.several(pane, pane.layer(), pane.activeHeads(), mean);
      plot.pinned = main.pinOf(pane);
      plot.set({...pane.layout, channels: pane.channels, threshold, strength});
    },
    link: (place) => plot.link(place),
    remove: () => plot.remove()
  };
};
