"""What the tests ask inside a page, in its own language."""

PLACE = """const pane = weft.main.panes[arguments[1] || 0], view = pane.view;
  const plot = arguments[2] ? view[arguments[2]] : view.plot, stage = plot.stage;
  const [x, y] = plot.where(arguments[0], stage.window), b = stage.canvas.getBoundingClientRect();
  return [b.left + x - stage.box.scrollLeft, b.top + y - stage.box.scrollTop];"""
# The page's own canvas is never read: that would change how the browser draws it.
READ = """const copy = (from, x, y, w, h) => {
    const ctx = new OffscreenCanvas(w, h).getContext("2d", {willReadFrequently: true});
    ctx.drawImage(from, x, y, w, h, 0, 0, w, h);
    return ctx.getImageData(0, 0, w, h).data;
  };"""
PIXEL = READ + """
  const c = weft.main.panes[0].view.plot.stage.canvas, b = c.getBoundingClientRect();
  return [...copy(c, arguments[0] - b.left, arguments[1] - b.top, 1, 1)];"""
INK = READ + """const c = weft.main.panes[arguments[0] || 0].view.plot.stage.canvas;
  const d = copy(c, 0, 0, c.width, c.height);
  let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 8; return n;"""
TIP = r"""const t = document.getElementById("tip"); return t.hidden ? "" : t.innerText
  .replace(/[\u2068\u2069]/g, "").replace(/\n+/g, "\n");"""
LIVE = """return document.getElementById("live").textContent;"""
ERROR = """const e = document.getElementById("error"); return e.hidden ? "" : e.textContent;"""
CONTRAST = """
  const parse = (c) => {
    const p = c.match(/[0-9.]+/g).map(Number);
    return [...p.slice(0, 3), p[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("script, option, .unseen")) continue;
    if (e.matches(":disabled, :disabled *")) continue;
    const chain = [];
    for (let a = e; a; a = a.parentElement) {
      chain.unshift(parse(getComputedStyle(a).backgroundColor));
    }
    const under = chain.reduce((below, color) => over(color, below), [255, 255, 255]);
    const ink = over(parse(getComputedStyle(e).color), under);
    const ratio = weft.colors.contrast(ink, under);
    if (ratio < 4.5) bad.push([e.tagName, e.textContent.slice(0, 30), ratio]);
  }
  return bad;"""
UNNAMED = """return [...document.querySelectorAll("button, select, input, canvas, [tabindex]")]
  .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length))
  .map((e) => e.outerHTML.slice(0, 80));"""
THEME = """const t = weft.colors.theme, c = weft.colors.channels;
  return ["ink", "faint", "accent", "edge"].flatMap((name) => ["paper", "stripe", "mark"].map(
    (under) => [name, under, weft.colors.contrast(c(t[name]), c(t[under]))]));"""

# From the navigation's start to the first picture; the page is drawn while it is read.
READY = """return performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd;"""

# Moves over all of the picture's window; a pixel is read back, so that drawing is done, not queued.
# Of five passes each move's fastest counts: what other processes take is not the page's.
MOVES = """
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const plot = weft.main.panes[0].view[arguments[0]], {canvas} = plot.stage;
  const {width, height} = canvas.getBoundingClientRect(), passes = [];
  for (let pass = 0; pass < 5; pass++) {
   const times = [];
   for (let i = 0; i < 200; i++) {
    const side = i % 3, y = (i * 37) % height;
    const x = plot.left === undefined ? (i * 53) % width
      : side === 0 ? Math.min(plot.left - 10, width - 5) : side === 1 && plot.right
      ? Math.min(plot.right + 10, width - 5) : (i * 53) % width;
    const bounds = canvas.getBoundingClientRect(), start = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointermove", {
      bubbles: true, clientX: bounds.left + x, clientY: bounds.top + y}));
    pixel.drawImage(canvas, 0, 0, 1, 1);
    pixel.getImageData(0, 0, 1, 1);
    times.push(performance.now() - start);
   }
   passes.push(times);
  }
  const p95 = (times) => times.sort((a, b) => a - b)[Math.floor(0.95 * times.length)];
  const best = passes[0].map((_, i) => Math.min(...passes.map((times) => times[i])));
  return {n: best.length, p95: p95(best), first: p95(passes[0]), most: best.at(-1)};"""
