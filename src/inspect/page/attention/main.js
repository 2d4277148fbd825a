// Puts the page together: a pane a model, the chosen view in each, notes and facts below.
const main = weft.main = (() => {
  const {header} = weft.data, {values} = state;
  const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  const numeric = (text) => /^\d+$/.test(text);

  const panes = header.models.map((model, m) => {
    const pane = {model, m, suffix: m ? "2" : "", view: null, kind: "", channels: null};
    pane.box = el("div");
    pane.bar = el("div", {class: "controls"});
    pane.section = el("section", {class: "pane", "aria-label": model.name});
    if (header.models.length > 1) pane.section.append(el("h2", {}, about(model)));
    pane.section.append(pane.bar, pane.box);

    pane.layer = () => {
      const L = pane.pass.maps.blobs.length;
      if (values.view === "model") return String(pane.detail()?.[0] ?? 0);
      let chosen = values[`layer${pane.suffix}`];
      if (chosen === "depth") {
        chosen = panes[0].layer();
        const first = panes[0].pass.maps.blobs.length;
        if (numeric(chosen)) chosen = String(Math.round(chosen * (L - 1) / Math.max(1, first - 1)));
      }
      if (numeric(chosen)) return String(clamp(+chosen, 0, L - 1));
      if (values.view === "neuron" || !["mean", "rollout"].includes(chosen)) return "0";
      const long = pane.pass.tokens.length > derived.kRolloutTokens;
      return chosen === "rollout" && long ? "mean" : chosen;
    };
    pane.head = (mayBeMean) => {
      const chosen = values[`head${pane.suffix}`];
      if (chosen === "mean" && mayBeMean) return "mean";
      return String(numeric(chosen) ? clamp(+chosen, 0, model.shown_heads.length - 1) : 0);
    };
    pane.activeHeads = () => {
      const all = derived.heads(pane.pass), text = values[`heads${pane.suffix}`];
      const chosen = text.split(".").filter(numeric).map(Number).filter((h) => h < all.length);
      return text && chosen.length ? [...new Set(chosen)] : all;
    };
    pane.detail = () => {
      const [layer, head] = values[`detail${pane.suffix}`].split(".")
        .map((x) => numeric(x) ? +x : -1);
      return layer >= 0 && head >= 0 && layer < pane.pass.maps.blobs.length
        && head < model.shown_heads.length ? [layer, head] : null;
    };
    pane.window = () => derived.windowOf(pane.pass, pane.layer());
    return pane;
  });

  function about(model) {
    const keys = model.kv_heads < model.heads ? ` (${model.kv_heads} for keys)` : "";
    return `${model.name}: ${model.family}, ${many(model.layers, "layer")}, `
      + `${many(model.heads, "head")}${keys}`;
  }

  const text = () => header.texts[values.text];
  const steps = () => Math.max(...panes.map((pane) => derived.steps(pane.pass)));

  // Pins are kept in the first model's tokens.
  function mapped(from, to, place) {
    if (!place || from === to) return place;
    const find = (axis, i) => compare.counterpart(from[axis].groups, to[axis].groups, i);
    const found = {q: find("rows", place.q), k: find("cols", place.k)};
    return found.q === null && found.k === null ? null : found;
  }

  function pinOf(pane) {
    const [, q, k] = values.pin.match(/^(?:q(\d+))?(?:k(\d+))?$/) || [];
    const within = (i, axis) => i !== undefined && +i < panes[0][axis].groups.length ? +i : null;
    let place = {q: within(q, "rows"), k: within(k, "cols")};
    if (place.q === null && place.k === null) {
      // the token that the step's new one was drawn from
      if (!values.step || !steps()) return null;
      place = {q: panes[0].rows.groups.length - 1, k: null};
    }
    return mapped(panes[0], pane, place);
  }

  function pin(pane, place) {
    const first = mapped(pane, panes[0], place);
    const part = (letter) => first && first[letter] !== null ? letter + first[letter] : "";
    state.set({pin: part("q") + part("k")});
    if (place && pane.channels) tooltip.say(tooltip.describe(pane, pane.channels, place), true);
  }

  function link(pane, place) {
    for (const other of panes) if (other !== pane) other.view?.link(mapped(pane, other, place));
  }

  // The pointer, or a key's cursor at (x, y), is at a place of a pane's picture; null: at none.
  function pointed(pane, channels, place, event, x, y) {
    link(pane, place && (place.q !== null || place.k !== null) ? place : null);
    told(place && channels ? tooltip.describe(pane, channels, place) : null, event, x, y);
  }
  // What a picture of tokens asks of the page.
  const hooks = (pane) => ({
    hover: (place, event, x, y) => pointed(pane, pane.channels, place, event, x, y),
    pin: (place) => pin(pane, place)
  });
  function told(what, event, x, y) {
    if (!what) return tooltip.hide();
    tooltip.show(what, x ?? event.clientX, y ?? event.clientY);
    tooltip.say(what, x !== undefined);
  }

  function notes() {
    const lines = [], {pass, model} = panes[0], layer = panes[0].layer();
    for (const {pass: {maps: {k}}, model: {name}} of panes) {
      if (k) lines.push(`The ${k} largest weights of each row are kept; the rest, together, is`
        + ` shown as “rest”${panes.length > 1 ? ` (${name})` : ""}.`);
    }
    if (values.view !== "model" && layer === "rollout") {
      lines.push("Rollout: the product over the layers of half the heads' mean and half the"
        + ` identity${pass.maps.k ? ", rows of the kept weights made to sum to 1" : ""}`
        + `${model.shown_layers.length < model.layers ? "; of this page's layers alone" : ""}.`);
    }
    const window = panes[0].window();
    if (window) lines.push(`This layer sees a window of ${many(window, "token")}.`);
    if (values.step && steps()) {
      const next = pass.tokens[derived.shownTokens(pass, values.step)];
      lines.push(`Step ${values.step}: from the last token here the model went on with “${
        printable(next ?? "")}”.`);
    }
    if (values.words && values.view !== "neuron") {
      lines.push("Tokens of a word are put together: their keys' weights are summed, their queries'"
        + " rows averaged.");
    }
    byId("notes").replaceChildren(...lines.map((line) => el("p", {}, line)));
  }

  // The heads' entropies, a cell each, to click.
  function entropyTable(pane) {
    const {pass, model} = pane, all = pass.entropy.flat(), most = Math.max(...all) || 1;
    const color = colors.channels(theme.accent), n = model.shown_heads.length;
    const least = Math.min(...all), layer = pane.layer();
    const cell = (l, h) => {
      const value = pass.entropy[l][h];
      const button = el("button", {
        class: value === least ? "low" : "",
        "aria-label": `Layer ${model.shown_layers[l]}, head ${model.shown_heads[h]}: `
          + `entropy ${value.toFixed(2)}`,
        onclick: () => state.set(values.view === "model" ? {[`detail${pane.suffix}`]: `${l}.${h}`}
          : {[`layer${pane.suffix}`]: String(l), [`head${pane.suffix}`]: String(h),
             [`heads${pane.suffix}`]: n > 1 ? String(h) : ""})
      }, value.toFixed(n > 16 ? 1 : 2));
      button.style.background = colors.css(color, 0.4 * value / most);
      if (String(l) === layer && values.view !== "model"
          && pane.activeHeads().length === 1 && pane.activeHeads()[0] === h) {
        button.setAttribute("aria-current", "true");
      }
      return el("td", {}, button);
    };
    const title = panes.length > 1 ? `Entropy of the heads of ${model.name}`
        : "Entropy of the heads";
    return el("section", {}, el("h2", {}, title),
      el("p", {}, "Nats, mean over the queries; underlined: the lowest. Click one to see it."),
      el("div", {class: "wide"}, el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, "Layer"),
        ...model.shown_heads.map((h) => el("th", {}, String(h))))),
      el("tbody", {}, ...pass.entropy.map((row, l) =>
        el("tr", {}, el("th", {}, String(model.shown_layers[l])),
            ...row.map((_, h) => cell(l, h))))))));
  }

  function layouts() {
    const [a, b] = panes, plain = ({groups}) => ({y: Float32Array.from(groups, (_, i) => i),
                                                   rows: groups.length});
    const both = b && ["rows", "cols"].map((axis) =>
      compare.places(a[axis].groups, b[axis].groups));
    for (const pane of panes) {
      const places = ["rows", "cols"].map((axis, at) => both
        ? {y: both[at].y[pane.m], rows: both[at].rows} : plain(pane[axis]));
      pane.layout = {rows: pane.rows, cols: pane.cols, y: places.map((p) => p.y),
                     tall: Math.max(...places.map((p) => p.rows))};
    }
  }

  let laid = "", facts = "";
  function refresh() {
    if (!(values.view in weft.views)) values.view = "head";
    values.text = clamp(Math.round(values.text), 0, header.texts.length - 1);
    if (!/^(all|[ab][ab])$/.test(values.pairs)) values.pairs = "all";
    if (!(values.strength > 0)) values.strength = 1;
    panes.forEach((pane) => { pane.pass = text().views[pane.m]; });
    values.step = clamp(Math.round(values.step), 0, steps());
    const words = values.view === "neuron" ? 0 : values.words;
    const axes = [values.text, values.step, words, values.pairs].join();
    if (axes !== laid) {
      laid = axes;
      for (const pane of panes) {
        Object.assign(pane, derived.axes(pane.pass, {...values, words}));
      }
      layouts();
    }
    for (const pane of panes) {
      if (pane.kind !== values.view) {
        pane.view?.remove();
        pane.box.replaceChildren();
        pane.kind = values.view;
        pane.view = weft.views[values.view](pane);
      }
    }
    weft.controls.update();
    byId("shown").classList.toggle("whole", panes.length > 1 || values.view === "model"
      || (values.view === "neuron" && values.open >= 0));
    for (const pane of panes) pane.view.update();
    notes();
    const told = panes.map((pane) => [values.view === "model", values.text, pane.layer(),
                                      pane.activeHeads(), theme.paper].join()).join("|");
    if (told === facts) return;
    facts = told;
    const focused = document.activeElement?.getAttribute("aria-label");
    byId("facts").replaceChildren(...(panes.length > 1 ? [compare.table(panes)] : []),
                                  ...panes.map(entropyTable));
    // the table was made anew under the keyboard
    if (focused && document.activeElement === document.body) {
      byId("facts").querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  // The layer or head before or after, by Shift and an arrow.
  function keys(event) {
    if (!event.shiftKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    const by = {ArrowUp: ["layer", -1], ArrowDown: ["layer", 1], ArrowLeft: ["head", -1],
                ArrowRight: ["head", 1]}[event.key];
    if (!by) return;
    event.preventDefault();
    const [pane] = panes, {view} = values, [what, step] = by, detail = pane.detail() || [0, 0];
    const n = pane.model.shown_heads.length, L = pane.pass.maps.blobs.length;
    if (view === "model") {
      detail[what === "layer" ? 0 : 1] += step;
      state.set({detail: `${clamp(detail[0], 0, L - 1)}.${clamp(detail[1], 0, n - 1)}`});
    } else if (what === "layer") {
      const at = numeric(pane.layer()) ? +pane.layer() + step : 0;
      state.set({layer: String(clamp(at, 0, L - 1))});
    } else if (view === "head") {
      const active = pane.activeHeads(), at = active.length === 1 ? (active[0] + step + n) % n : 0;
      state.set({heads: n > 1 ? String(at) : ""});
    } else {
      const at = numeric(pane.head(true)) ? +pane.head(true) + step : 0;
      state.set({head: String(clamp(at, 0, n - 1))});
    }
  }

  function start() {
    document.title = `Weft: ${header.title}`;
    byId("title").textContent = header.title;
    byId("about").textContent = panes.length > 1 ? "" : about(header.models[0]);
    byId("made").textContent = `Made by ${header.made_by}: ${header.command}`;
    byId("panes").append(...panes.map((pane) => pane.section));
    byId("panes").classList.toggle("two", panes.length > 1);
    weft.controls.build(panes);
    document.addEventListener("keydown", keys);
    const recolor = () => {
      colors.read();
      guarded(refresh);
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
    addEventListener("beforeprint", () => {
      document.documentElement.dataset.print = "";
      recolor();
    });
    addEventListener("afterprint", () => {
      delete document.documentElement.dataset.print;
      recolor();
    });
    state.onChange(() => guarded(refresh));
    guarded(refresh);
  }

  // What goes wrong is said on the page.
  function guarded(f) {
    try {
      f();
      byId("error").hidden = true;
    } catch (error) {
      byId("error").textContent = `The page cannot show this: ${error.message}`;
      byId("error").hidden = false;
      console.error(error);
    }
  }

  return {panes, start, text, steps, pin, pinOf, link, pointed, told, hooks};
})();
main.start();
