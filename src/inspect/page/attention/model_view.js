// Every layer and head at once, and one of them beside it.
class ModelPlot {
  static kLeft = 40;
  static kTop = 24;
  static kGap = 4;

  // hooks: hover(layer, head, event, x, y) with null for none; open(layer, head)
  constructor(host, label, hooks) {
    this.hooks = hooks;
    this.cursor = null;  // [row, column]
    this.stage = new Stage(host, label, this);
  }

  // {pane, channel(layer, head), order: [[heads] a layer], strength, threshold, thumbs, detail}
  set(data) {
    Object.assign(this, data);
    this.image = null;
    this.stage.fit();
  }

  fit(width) {
    const L = this.order.length, H = this.order[0].length, {kLeft, kGap} = ModelPlot;
    const side = clamp(Math.floor((width - kLeft - 4) / H) - kGap, 26, 110);
    if (side !== this.side || !this.image) {
      this.side = side;
      this.image = null;
    }
    this.count = [L, H];
  }

  size() {
    const [L, H] = this.count, {kLeft, kTop, kGap} = ModelPlot;
    return [kLeft + H * (this.side + kGap), kTop + L * (this.side + kGap)];
  }

  corner(row, column) {
    const {kLeft, kTop, kGap} = ModelPlot;
    return [kLeft + column * (this.side + kGap), kTop + row * (this.side + kGap)];
  }

  where([row, column]) {
    return this.corner(row, column).map((at) => at + this.side / 2);
  }

  at(x, y, window) {
    const {kLeft, kTop, kGap} = ModelPlot;
    const column = Math.floor((x + window.x - kLeft) / (this.side + kGap));
    const row = Math.floor((y + window.y - kTop) / (this.side + kGap));
    return row >= 0 && column >= 0 && row < this.count[0] && column < this.count[1]
      ? [row, column] : null;
  }

  hover(cell, event, x, y) {
    if (String(cell) !== String(this.cursor)) {
      this.cursor = cell;
      this.stage.paint();
    }
    this.stage.canvas.style.cursor = cell ? "pointer" : "";
    if (cell) this.hooks.hover(cell[0], this.order[cell[0]][cell[1]], event, x, y);
    else this.hooks.hover(null);
  }

  click(cell) {
    if (cell) this.hooks.open(cell[0], this.order[cell[0]][cell[1]]);
  }

  key(event) {
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
                  ArrowRight: [0, 1]}[event.key];
    if (event.key === "Enter" || event.key === " ") {
      this.click(this.cursor || [0, 0]);
      return true;
    }
    if (!step) return false;
    const cell = this.cursor ? this.cursor.map((at, axis) =>
      clamp(at + step[axis], 0, this.count[axis] - 1)) : [0, 0];
    const [x, y] = this.stage.reveal(cell, this.side);
    this.hover(cell, event, x, y);
    return true;
  }

  // Weights between bins of tokens, since a thumbnail has fewer pixels than a long text tokens:
  // rows averaged, columns summed.
  binned(channel, bins) {
    const out = new Float32Array(bins * bins), row = new Float32Array(channel.cols.groups.length);
    const nr = channel.rows.groups.length, nc = row.length;
    for (let r = 0; r < nr; r++) {
      channel.row(r, row);
      const at = Math.floor(r * bins / nr) * bins, share = bins < nr ? bins / nr : 1;
      for (let c = 0; c < nc; c++) out[at + Math.floor(c * bins / nc)] += row[c] * share;
    }
    return out;
  }

  thumbnail(ctx, row, column) {
    const {side, strength, threshold, thumbs, order} = this, [x, y] = this.corner(row, column);
    const channel = this.channel(row, order[row][column]), kLevels = 16;
    const n = Math.max(channel.rows.groups.length, channel.cols.groups.length);
    const bins = Math.min(n, side), values = this.binned(channel, bins), lines = new Array(kLevels);
    for (let at = 0; at < values.length; at++) {
      const w = values[at], alpha = Math.min(1, w * strength);
      if (w < threshold || alpha < 0.02) continue;
      (lines[Math.min(kLevels - 1, Math.floor(alpha * kLevels))] ||= []).push(at);
    }
    const size = side / bins;
    ctx.lineWidth = 1;
    lines.forEach((cells, level) => {
      ctx.strokeStyle = ctx.fillStyle = colors.css(channel.color, (level + 0.5) / kLevels);
      ctx.beginPath();
      for (const at of cells) {
        const r = Math.floor(at / bins), c = at % bins;
        if (thumbs === "cells") ctx.fillRect(x + c * size, y + r * size, size, size);
        else {
          ctx.moveTo(x + 2, y + (r + 0.5) * size);
          ctx.lineTo(x + side - 2, y + (c + 0.5) * size);
        }
      }
      if (thumbs !== "cells") ctx.stroke();
    });
  }

  // Draws thumbnails for some milliseconds at a time until all are there.
  start(ratio) {
    const canvas = document.createElement("canvas"), [w, h] = this.size();
    [canvas.width, canvas.height] = [Math.ceil(w * ratio), Math.ceil(h * ratio)];
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    const image = this.image = {canvas, ratio, done: 0};
    const total = this.count[0] * this.count[1];
    const work = () => {
      if (this.image !== image) return;
      const until = performance.now() + 10;
      while (image.done < total && performance.now() < until) {
        this.thumbnail(ctx, Math.floor(image.done / this.count[1]), image.done % this.count[1]);
        image.done++;
      }
      this.stage.paint();
      if (image.done < total) setTimeout(work, 0);
    };
    setTimeout(work, 0);
  }

  paint(ctx, window) {
    if (!this.order) return;
    const ratio = Math.max(1, globalThis.devicePixelRatio || 1), {side} = this;
    if (!this.image) this.start(ratio);
    const [w, h] = this.size(), {kLeft, kTop} = ModelPlot,
        {shown_heads, shown_layers} = this.pane.model;
    ctx.drawImage(this.image.canvas, -window.x, -window.y, w, h);
    const face = font(side < 34 ? 10 : 12);
    for (let row = 0; row < this.count[0]; row++) {
      for (let column = 0; column < this.count[1]; column++) {
        let [x, y] = this.corner(row, column);
        [x, y] = [x - window.x, y - window.y];
        if (y + side < 0 || y > window.h) continue;
        const head = this.order[row][column], here = String(this.cursor) === `${row},${column}`;
        const open = this.detail === `${row}.${head}`;
        frame(ctx, open ? theme.accent : here ? theme.ink : theme.rule, open || here ? 2 : 1,
              x + 0.5, y + 0.5, side - 1, side - 1);
        if (this.sorted && side >= 34) {
          fill(ctx, theme.paper, x + 1, y + 1, 18, 14);
          write(ctx, face, theme.ink, "center", String(shown_heads[head]), x + 10, y + 9);
        }
      }
    }
    fill(ctx, theme.paper, 0, 0, window.w, kTop - 2);
    ctx.fillRect(0, 0, kLeft - 2, window.h);
    const label = (text, x, y) => write(ctx, face, theme.faint, "center", text, x, y);
    for (let column = 0; column < this.count[1] && !this.sorted; column++) {
      const x = this.where([0, column])[0] - window.x;
      if (x > kLeft) label(String(shown_heads[this.order[0][column]]), x, kTop / 2);
    }
    if (this.sorted) label("lowest entropy first", kLeft + 70, kTop / 2);
    for (let row = 0; row < this.count[0]; row++) {
      const y = this.where([row, 0])[1] - window.y;
      if (y > kTop) label(`L ${shown_layers[row]}`, kLeft / 2 - 2, y);
    }
  }

  remove() {
    this.image = null;
    this.stage.remove();
  }
}

weft.views.model = (pane) => {
  const key = `detail${pane.suffix}`;
  const grid = el("div"), side = el("div", {class: "detail"});
  pane.box.append(el("div", {class: "body"}, grid, side));
  const heading = el("h2"), close = el("button", {
    "aria-label": "Close the detail", onclick: () => state.set({[key]: ""})}, "×");
  side.append(el("div", {class: "controls"}, heading, close));
  const pointed = (layer, head, event, x, y) => {
    if (layer === null) return main.pointed(pane, null, null);
    const {pass, model} = pane, row = (name, what, digits) =>
      [null, name, pass[what][layer][head].toFixed(digits), ""];
    main.told({
      title: `${derived.layerName(pane, layer)}, ${derived.headName(pane, head)}`,
      notes: model.kv_heads < model.heads
        ? [`key head ${Math.floor(model.shown_heads[head] * model.kv_heads / model.heads)}`] : [],
      lines: [row("entropy, nats", "entropy", 2), row("mean distance, tokens", "distance", 1),
              row("weight on token 0", "first_share", 3)]
    }, event, x, y);
  };
  const plot = new ModelPlot(grid, `All heads of ${pane.model.name}`, {
    hover: pointed,
    open: (layer, head) => {
      const chosen = `${layer}.${head}`;
      state.set({[key]: state.values[key] === chosen ? "" : chosen});
    }
  });
  const detail = new HeadPlot(side, `One head of ${pane.model.name}`, main.hooks(pane));
  return {
    plot,
    detail,
    update() {
      const {threshold, strength, thumbs, order} = state.values, {pass} = pane;
      const opened = pane.detail(), L = pass.entropy.length;
      side.hidden = !opened;
      grid.style.maxWidth = `${64 + 114 * pass.entropy[0].length}px`;
      if (opened) {
        const [layer, head] = opened;
        heading.textContent = `${derived.layerName(pane, layer)}, ${derived.headName(pane, head)}`;
        pane.channels = [derived.single(pane, String(layer), head, colors.one(layer, L))];
        detail.pinned = main.pinOf(pane);
        detail.set({...pane.layout, channels: pane.channels, threshold, strength});
      } else {
        pane.channels = null;
      }
      plot.set({
        pane, threshold, strength, thumbs, sorted: order === "entropy",
        detail: opened ? opened.join(".") : "",
        order: derived.layers(pass).map((layer) => derived.ordered(pass, layer, order)),
        channel: (layer, head) =>
          derived.single(pane, String(layer), head, colors.one(layer, L))
      });
    },
    link: (place) => detail.link(place),
    remove() {
      plot.remove();
      detail.remove();
    }
  };
};
