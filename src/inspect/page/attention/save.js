// The picture as SVG or PNG, the numbers behind it as CSV.
weft.save = (() => {
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
    .replace(/[\ud800-\udfff\ufffe\uffff]/g, (c, at) => {
      const high = c < "\udc00", other = text[at + (high ? 1 : -1)] || "";
      return high && /[\udc00-\udfff]/.test(other) || !high && /[\ud800-\udbff]/.test(other)
        ? c : "�";
    });

  // What the plots use of a canvas' context, written as SVG.
  class Vector {
    constructor(width, height) {
      Object.assign(this, {width, height, vector: true, out: [], groups: [0], clips: 0, path: "",
                           fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, font: "",
                           textAlign: "left", textBaseline: "middle"});
      this.measure = document.createElement("canvas").getContext("2d");
    }
    paint(what, style) {
      const parts = style.match(/^rgba\((\d+,\d+,\d+),([\d.]+)\)$/);
      return parts ? `${what}="rgb(${parts[1]})" ${what}-opacity="${parts[2]}"`
          : `${what}="${style}"`;
    }
    open(attributes) {
      this.out.push(`<g ${attributes}>`);
      this.groups[this.groups.length - 1]++;
    }
    save() { this.groups.push(0); }
    restore() { this.out.push("</g>".repeat(this.groups.pop())); }
    translate(x, y) { this.open(`transform="translate(${x} ${y})"`); }
    rotate(angle) { this.open(`transform="rotate(${angle * 180 / Math.PI})"`); }
    beginPath() { this.path = ""; }
    moveTo(x, y) { this.path += `M${+x.toFixed(2)} ${+y.toFixed(2)}`; }
    lineTo(x, y) { this.path += `L${+x.toFixed(2)} ${+y.toFixed(2)}`; }
    rect(x, y, w, h) { this.path += `M${x} ${y}h${w}v${h}h${-w}z`; }
    clip() {
      this.out.push(`<clipPath id="c${++this.clips}"><path d="${this.path}"/></clipPath>`);
      this.open(`clip-path="url(#c${this.clips})"`);
    }
    stroke() {
      if (!this.path) return;
      this.out.push(`<path d="${this.path}" fill="none" ${this.paint("stroke", this.strokeStyle)}`
                    + ` stroke-width="${this.lineWidth}"/>`);
    }
    box(x, y, w, h, style) {
      const [X, Y, W, H] = [x, y, w, h].map((v) => +v.toFixed(2));
      this.out.push(`<rect x="${X}" y="${Y}" width="${Math.max(0, W)}"`
                    + ` height="${Math.max(0, H)}" ${style}/>`);
    }
    fillRect(x, y, w, h) { this.box(x, y, w, h, this.paint("fill", this.fillStyle)); }
    strokeRect(x, y, w, h) {
      this.box(x, y, w, h, `fill="none" ${this.paint("stroke", this.strokeStyle)}`
               + ` stroke-width="${this.lineWidth}"`);
    }
    fillText(text, x, y, most = Infinity) {
      this.measure.font = this.font;
      const long = this.measure.measureText(text).width > most;
      const [, weight, size] = this.font.match(/^(600 )?(\d+)px/);
      const anchor = {left: "start", right: "end", center: "middle"}[this.textAlign];
      this.out.push(`<text x="${x}" y="${y}" xml:space="preserve" direction="ltr"`
        + ` text-anchor="${anchor}" font-family="system-ui, Liberation Sans, sans-serif"`
        + ` font-size="${size}"${weight ? ' font-weight="600"' : ""}`
        + ` dominant-baseline="${this.textBaseline === "middle" ? "central" : "auto"}"`
        + `${long ? ` textLength="${most}" lengthAdjust="spacingAndGlyphs"` : ""}`
        + ` ${this.paint("fill", this.fillStyle)}>${escape(text)}</text>`);
    }
    drawImage(canvas, x, y, w, h) {
      this.out.push(`<image x="${x}" y="${y}" width="${w}" height="${h}" preserveAspectRatio="none"`
        + ` style="image-rendering:pixelated" href="${canvas.toDataURL()}"/>`);
    }
    text() {
      return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}"`
        + ` viewBox="0 0 ${this.width} ${this.height}">\n<rect width="100%" height="100%"`
        + ` fill="${theme.paper}"/>\n${this.out.join("\n")}\n</svg>\n`;
    }
  }

  // All of a picture, or what is seen of one too large for a file.
  function extent(plot) {
    const [w, h] = plot.size().map(Math.ceil), {window} = plot.stage;
    return w * h <= 3e7 && Math.max(w, h) <= 8000 ? {x: 0, y: 0, w, h} : window;
  }

  function svg(plot) {
    const all = extent(plot), ctx = new Vector(Math.ceil(all.w), Math.ceil(all.h));
    plot.paint(ctx, all);
    return ctx.text();
  }

  function png(plot) {
    const all = extent(plot), canvas = document.createElement("canvas");
    const ratio = all.w * all.h < 8e6 ? 2 : 1;
    [canvas.width, canvas.height] = [all.w * ratio, all.h * ratio];
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = theme.paper;
    ctx.fillRect(0, 0, all.w, all.h);
    plot.paint(ctx, all);
    if (plot.base) plot.base = null;
    return canvas.toDataURL("image/png");
  }

  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;

  // A line a weight of what is shown: at least the threshold, and not 0.
  function csv(panes) {
    const lines = ["text,model,layer,head,query_position,query,key_position,key,weight"];
    for (const pane of panes) {
      const layer = derived.layerName(pane, pane.layer()), rows = pane.rows.groups;
      const least = state.values.threshold, cols = pane.cols.groups;
      for (const channel of pane.channels || []) {
        const start = [main.text().name, pane.model.name, layer, channel.name].map(quoted).join();
        for (let r = 0; r < rows.length; r++) {
          const row = channel.row(r), query = `${start},${rows[r].from},${quoted(rows[r].text)}`;
          for (let c = 0; c < row.length; c++) {
            if (row[c] <= 0 || row[c] < least) continue;
            lines.push(`${query},${cols[c].from},${quoted(cols[c].text)},${row[c].toPrecision(6)}`);
          }
          const rest = channel.rest(r);
          if (rest > 0) lines.push(`${query},,"(the rest)",${rest.toPrecision(6)}`);
        }
      }
    }
    return lines.join("\r\n") + "\r\n";
  }

  function download(name, href) {
    const link = el("a", {href, download: name});
    document.body.append(link);
    link.click();
    link.remove();
  }
  function file(kind) {
    const panes = main.panes, {view} = state.values;
    if (kind === "csv") {
      const url = URL.createObjectURL(new Blob([csv(panes)], {type: "text/csv"}));
      download("attention.csv", url);
      setTimeout(() => URL.revokeObjectURL(url), 10000);
      return;
    }
    panes.forEach((pane, m) => {
      const name = `attention-${view}${panes.length > 1 ? `-${m + 1}` : ""}.${kind}`,
          {plot} = pane.view;
      if (kind === "png") download(name, png(plot));
      else download(name, "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg(plot)));
    });
  }

  return {svg, png, csv, file};
})();
