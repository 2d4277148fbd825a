// A scrolling picture: a canvas as large as its window, over room as large as the picture, so that
// only what is visible is drawn. The plot that it shows has
//   size() -> [width, height];  paint(ctx, {x, y, w, h}): the window in the picture's pixels
//   at(x, y, window) -> a place, or null;  where(place, window) -> [x, y] of a place in the picture
// and, where it wants them, hover(place, event), click(place, event), key(event), wheel(event).
class Stage {
  constructor(host, label, plot) {
    this.plot = plot;
    this.canvas = el("canvas", {tabIndex: 0, role: "application", "aria-label": label,
                                     "aria-roledescription": "attention picture"});
    this.host = host;
    this.room = el("div", {}, this.canvas);
    this.box = el("div", {class: "stage"}, this.room);
    host.append(this.box);
    this.ctx = this.canvas.getContext("2d");
    const place = (event) => plot.at(event.offsetX, event.offsetY, this.window);
    this.canvas.addEventListener("pointermove", (e) => plot.hover?.(place(e), e));
    this.canvas.addEventListener("pointerleave", (e) => plot.hover?.(null, e));
    this.canvas.addEventListener("click", (e) => plot.click?.(place(e), e));
    this.canvas.addEventListener("blur", () => plot.hover?.(null, null));
    this.canvas.addEventListener("keydown", (e) => {
      if (!e.altKey && !e.ctrlKey && !e.metaKey && plot.key?.(e)) {
        e.preventDefault();
        e.stopPropagation();
      }
    });
    this.box.addEventListener("wheel", (e) => {
      if (e.ctrlKey && plot.wheel?.(e)) e.preventDefault();
    }, {passive: false});
    this.box.addEventListener("scroll", () => this.paint());
    this.window = {x: 0, y: 0, w: 0, h: 0};
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(host);
  }

  // How high a picture may be without scrolling.
  get high() { return Math.max(350, Math.round(innerHeight * 0.76)); }

  // Room for a border, and for a scroll bar where one may be needed.
  fit() {
    // A canvas larger than its room would scroll, and the bars would take room.
    this.canvas.style.width = this.canvas.style.height = "0";
    const most = this.host.clientWidth, kBorder = 2, kBar = 17;
    if (!most) return;
    this.plot.fit(most - kBorder - kBar);
    const [w, h] = this.plot.size().map(Math.ceil);
    const down = h > this.high, across = w + kBorder + (down ? kBar : 0) > most;
    this.room.style.width = `${Math.max(1, w)}px`;
    this.room.style.height = `${Math.max(1, h)}px`;
    this.box.style.width = `${Math.min(most, w + kBorder + (down ? kBar : 0))}px`;
    this.box.style.height = `${Math.min(h, this.high) + kBorder + (across ? kBar : 0)}px`;
    this.paint();
  }

  paint() {
    const {canvas, ctx, box} = this, ratio = window.devicePixelRatio || 1;
    const w = box.clientWidth, h = box.clientHeight;
    if (!w || !h) return;
    const [wide, high] = [Math.round(w * ratio), Math.round(h * ratio)];
    // setting a size clears the canvas, also to the same
    if (canvas.width !== wide) canvas.width = wide;
    if (canvas.height !== high) canvas.height = high;
    canvas.style.width = `${w}px`;
    canvas.style.height = `${h}px`;
    this.window = {x: box.scrollLeft, y: box.scrollTop, w, h};
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, w, h);
    this.plot.paint(ctx, this.window);
  }

  // Scrolls a place into sight; returns its [x, y] in the browser's window.
  reveal(place, margin = 40) {
    const [x, y] = this.plot.where(place, this.window), {box} = this;
    const into = (at, from, size) => {
      const edge = Math.min(margin, size / 2);
      return at < from + edge ? at - edge : at > from + size - edge ? at - size + edge : from;
    };
    box.scrollTo(into(x, box.scrollLeft, box.clientWidth),
                 into(y, box.scrollTop, box.clientHeight));
    const bounds = this.canvas.getBoundingClientRect();
    return [bounds.left + x - box.scrollLeft, bounds.top + y - box.scrollTop];
  }

  remove() {
    this.watch.disconnect();
    this.box.remove();
  }
}
