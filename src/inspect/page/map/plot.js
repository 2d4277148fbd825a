// The dots on their canvas: one scale for both axes, names where they do not cover one another.
weft.plot = (() => {
  const {points} = weft;
  const canvas = byId("map"), ctx = canvas.getContext("2d");
  const whole = weft.bounds(points);
  const view = {x: 0, y: 0, scale: 1};  // of the picture's middle; pixels a unit
  const shown = {names: true, found: null, at: null};
  let width = 1, height = 1;

  const nGroups = Math.max(1, weft.header.groups.length);
  const colorOf = (point) => colors.one(point.group, nGroups);
  const place = (p) => [width / 2 + (p.x - view.x) * view.scale,
                        height / 2 - (p.y - view.y) * view.scale];

  function fitScale() {
    const [[x0, x1], [y0, y1]] = whole;
    return Math.min(width / (x1 - x0), height / (y1 - y0));
  }
  function reset() {
    const [[x0, x1], [y0, y1]] = whole;
    Object.assign(view, {x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: fitScale()});
    paint();
  }
  function zoom(factor, px = width / 2, py = height / 2) {
    const scale = clamp(view.scale * factor, fitScale() / 4, fitScale() * 4096);
    const real = scale / view.scale;
    view.x += (px - width / 2) / view.scale * (1 - 1 / real);
    view.y -= (py - height / 2) / view.scale * (1 - 1 / real);
    view.scale = scale;
    paint();
  }
  function move(dx, dy) {
    view.x -= dx / view.scale;
    view.y += dy / view.scale;
    paint();
  }

  // A name is drawn where nothing was drawn before, near what matters first.
  function names(list) {
    ctx.font = "12px system-ui, 'Liberation Sans', sans-serif";
    ctx.textBaseline = "middle";
    const cell = 14, taken = new Set();
    let left = 400;
    for (const p of list) {
      if (left <= 0) break;
      const [x, y] = place(p);
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const label = printable(p.label);
      const text = label.length > 28 ? label.slice(0, 27) + "…" : label;
      const w = ctx.measureText(text).width + 6, right = x + 8 + w < width;
      const from = right ? x + 8 : x - 8 - w, keys = [];
      const row = Math.round(y / cell);
      for (let c = Math.floor(from / cell); c <= (from + w) / cell; c++) keys.push(`${c} ${row}`);
      if (keys.some((key) => taken.has(key))) continue;
      for (const key of keys) taken.add(key);
      ctx.font = p.asked ? "600 12px system-ui, 'Liberation Sans', sans-serif"
                         : "12px system-ui, 'Liberation Sans', sans-serif";
      ctx.fillStyle = colors.theme.ink;
      ctx.fillText(text, from + 2, y);
      left--;
    }
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    const w = Math.round(width * ratio), h = Math.round(height * ratio);
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, {width: w, height: h});
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const {found} = shown, radius = points.length > 2000 ? 2.5 : 4;
    for (const p of points) {
      const [x, y] = place(p);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      const faint = found && !found.has(p.i);
      ctx.beginPath();
      ctx.arc(x, y, p.asked || found?.has(p.i) ? radius + 2 : radius, 0, 2 * Math.PI);
      ctx.fillStyle = colors.css(colorOf(p), faint ? 0.15 : 0.9);
      ctx.fill();
    }
    if (shown.at !== null) {
      const [x, y] = place(points[shown.at]);
      ctx.beginPath();
      ctx.arc(x, y, radius + 5, 0, 2 * Math.PI);
      ctx.lineWidth = 2;
      ctx.strokeStyle = colors.theme.ink;
      ctx.stroke();
    }
    if (!shown.names) return;
    const rank = (p) => (p.i === shown.at ? 0 : found?.has(p.i) ? 1 : p.asked ? 2 : 3);
    names(points.filter((p) => !found || found.has(p.i) || p.asked)
                .sort((a, b) => rank(a) - rank(b) || a.i - b.i));
  }

  // The dot at a pixel, or null.
  function at(px, py, reach = 12) {
    let best = null, least = reach * reach;
    for (const p of points) {
      const [x, y] = place(p), d = (x - px) ** 2 + (y - py) ** 2;
      if (d < least) [best, least] = [p.i, d];
    }
    return best;
  }
  // The nearest dot in a direction, those straight ahead first.
  function next(from, dx, dy) {
    const [x0, y0] = from === null ? [width / 2, height / 2] : place(points[from]);
    let best = from, least = Infinity;
    for (const p of points) {
      if (p.i === from) continue;
      const [x, y] = place(p), ahead = (x - x0) * dx + (y - y0) * dy;
      const aside = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
      if (from !== null && ahead <= 0.5) continue;
      const cost = Math.abs(ahead) + 3 * aside;
      if (cost < least) [best, least] = [p.i, cost];
    }
    return best;
  }
  // Brings a dot into the picture; its place in the browser's window.
  function reveal(i) {
    let [x, y] = place(points[i]);
    if (x < 20 || y < 20 || x > width - 20 || y > height - 20) {
      move(width / 2 - x, height / 2 - y);
      [x, y] = place(points[i]);
    }
    const box = canvas.getBoundingClientRect();
    return [box.left + x, box.top + y];
  }
  return {canvas, shown, colorOf, paint, reset, zoom, move, at, next, reveal};
})();
