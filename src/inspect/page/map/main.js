// Pointer, keys, the search, the table and what is saved.
(() => {
  const {header, points, plot} = weft, {shown, canvas} = plot;
  let pinned = false, drag = null;

  byId("title").textContent = header.title;
  document.title = `Weft: ${header.title}`;
  const percent = (x) => `${(100 * x).toFixed(1)} %`;
  byId("about").textContent = `${points.length} ${header.what}, by their first two principal ` +
    `components: ${percent(header.explained[0])} and ${percent(header.explained[1])} of the ` +
    `variance.${header.note ? " " + header.note : ""}`;
  byId("made").textContent = `${header.made_by}: ${header.command}`;
  canvas.setAttribute("aria-label", byId("about").textContent);

  function groups() {
    byId("groups").replaceChildren(...header.groups.map((name, g) => {
      const dot = el("i");
      dot.style.background = colors.css(plot.colorOf({group: g}));
      return el("span", {}, dot, printable(name));
    }));
  }
  const number = (x) => Math.abs(x) >= 1e4 || (x && Math.abs(x) < 1e-3) ? x.toExponential(2)
                                                                       : x.toFixed(3);
  const told = (p) => {
    const group = header.groups.length > 1 ? `, ${header.groups[p.group]}` : "";
    return `${p.label} (${p.id}${group}) at ${number(p.x)}, ${number(p.y)}`;
  };

  function choose(i, where) {
    if (i !== shown.at) {
      shown.at = i;
      plot.paint();
      byId("live").textContent = i === null ? "" : told(points[i]);
    }
    const tip = byId("tip");
    tip.hidden = i === null;
    if (i === null) return;
    tip.textContent = told(points[i]);
    const [x, y] = where ?? plot.reveal(i), w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.transform = `translate(${Math.max(4, Math.min(x + 14, innerWidth - w - 4))}px,` +
      `${Math.max(4, Math.min(y + 14, innerHeight - h - 4))}px)`;
  }

  canvas.addEventListener("pointermove", (e) => {
    if (drag) {
      plot.move(e.offsetX - drag[0], e.offsetY - drag[1]);
      drag = [e.offsetX, e.offsetY, true];
      choose(null);
    } else if (!pinned) {
      choose(plot.at(e.offsetX, e.offsetY), [e.clientX, e.clientY]);
    }
  });
  canvas.addEventListener("pointerdown", (e) => {
    drag = [e.offsetX, e.offsetY, false];
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener("pointerup", (e) => {
    const moved = drag?.[2];
    drag = null;
    if (moved) return;
    const i = plot.at(e.offsetX, e.offsetY);
    pinned = i !== null;
    choose(i, [e.clientX, e.clientY]);
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { if (!pinned && !drag) choose(null); });
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    plot.zoom(Math.exp(-e.deltaY / 400), e.offsetX, e.offsetY);
  }, {passive: false});

  const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    if (ways[e.key]) {
      pinned = true;
      choose(plot.next(shown.at, ...ways[e.key]));
    } else if (e.key === "+" || e.key === "=") plot.zoom(1.4);
    else if (e.key === "-") plot.zoom(1 / 1.4);
    else if (e.key === "0") plot.reset();
    else if (e.key === "Escape") {
      pinned = false;
      choose(null);
    } else return;
    e.preventDefault();
  });

  byId("find").addEventListener("input", (e) => {
    const text = e.target.value.toLowerCase();
    const found = points.filter((p) => p.label.toLowerCase().includes(text)).map((p) => p.i);
    shown.found = text ? new Set(found) : null;
    byId("live").textContent = text ? `${found.length} found` : "";
    plot.paint();
  });
  byId("names").addEventListener("change", (e) => {
    shown.names = e.target.checked;
    plot.paint();
  });
  byId("whole").addEventListener("click", plot.reset);

  function save(name, blob) {
    const link = el("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  weft.csv = () => ["label,id,group,x,y", ...points.map((p) =>
    [quoted(p.label), quoted(p.id), quoted(header.groups[p.group] ?? ""), p.x, p.y].join(","))
  ].join("\n") + "\n";
  byId("csv").addEventListener("click",
    () => save("map.csv", new Blob([weft.csv()], {type: "text/csv"})));
  byId("png").addEventListener("click", () => canvas.toBlob((blob) => save("map.png", blob)));

  byId("list").addEventListener("toggle", () => {
    if (byId("table").childElementCount) return;
    const row = (cells, tag) => el("tr", {}, ...cells.map(([text, kind]) =>
      el(tag, {class: kind}, text)));
    byId("table").append(el("table", {},
      el("thead", {}, row([["label", ""], ["id", ""], ["x", "n"], ["y", "n"]], "th")),
      el("tbody", {}, ...points.map((p) => row([[printable(p.label), ""], [String(p.id), ""],
        [number(p.x), "n"], [number(p.y), "n"]], "td")))));
  });

  function restyle() {
    colors.read();
    groups();
    plot.paint();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "";
    restyle();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    restyle();
  });
  new ResizeObserver(plot.paint).observe(canvas);
  restyle();
  plot.paint();
  plot.reset();
})();
