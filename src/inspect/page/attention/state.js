// All that is chosen, kept in the address (#view=matrix&layer=3), so that a link shows the same.
const state = weft.state = (() => {
  // A second model's choices end in 2; a pin is in the first model's tokens: q5, k3 or q5k3.
  const defaults = {
    view: "head", text: 0, layer: "0", layer2: "depth", heads: "", heads2: "", head: "0",
    head2: "0", mean: 0, words: 0,
    pairs: "all", threshold: 0, strength: 1, step: 0, pin: "", detail: "",
    detail2: "", open: -1, zoom: 0, scale: "linear", order: "number", thumbs: "lines"
  };
  const values = {...defaults};
  const listeners = [];
  let timer = 0, written = "";

  function read() {
    Object.assign(values, defaults);
    for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
      if (!(name in defaults)) continue;
      if (typeof defaults[name] === "string") values[name] = text;
      else if (Number.isFinite(+text)) values[name] = +text;
    }
  }

  function write() {
    timer = 0;
    const changed = Object.entries(values).filter(([name, value]) => value !== defaults[name]);
    written = "#" + new URLSearchParams(changed);
    if (written !== (location.hash || "#")) history.replaceState(null, "", written);
  }

  // Browsers refuse more than some writes a second.
  function set(changes) {
    Object.assign(values, changes);
    if (!timer) timer = setTimeout(write, 150);
    for (const listen of listeners) listen();
  }

  addEventListener("hashchange", () => {
    if (location.hash === written) return;
    read();
    for (const listen of listeners) listen();
  });
  read();
  return {values, set, onChange: (listen) => listeners.push(listen)};
})();
