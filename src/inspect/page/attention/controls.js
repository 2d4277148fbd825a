// What is chosen above the pictures. Built once; update() shows the state.
weft.controls = (() => {
  const {header} = weft.data;
  const kViews = [["head", "Heads"], ["model", "Model"], ["neuron", "Neurons"],
                  ["matrix", "Matrix"]];
  const updates = [];

  function select(label, name, options, change = {}, of = "") {
    const box = el("select", {"aria-label": label + of, onchange: () => {
      const value = typeof state.values[name] === "number" ? +box.value : box.value;
      state.set({[name]: value, ...change});
    }}, ...options.map(([value, text]) => el("option", {value}, text)));
    const node = el("label", {}, el("span", {}, label), box);
    updates.push(() => { box.value = state.values[name]; });
    return node;
  }

  function check(label, name, change = {}) {
    const box = el("input", {type: "checkbox",
                             onchange: () => state.set({[name]: +box.checked, ...change})});
    updates.push(() => { box.checked = Boolean(state.values[name]); });
    return el("label", {}, box, label);
  }

  // to(x): the state's value at place x of the slider; from: the other way.
  function slider(label, name, {max, to, from, shown}) {
    const output = el("output"), box = el("input", {
      type: "range", min: 0, max, step: 1, oninput: () => state.set({
        [name]: to(+box.value), pin: name === "step" ? "" : state.values.pin})});
    const node = el("label", {}, el("span", {}, label), box, output);
    updates.push(() => {
      box.value = from(state.values[name]);
      output.textContent = shown(state.values[name]);
      box.setAttribute("aria-valuetext", output.textContent);
    });
    return Object.assign(node, {box});
  }

  const show = (node, wanted) => { node.hidden = !wanted; };

  function tabs() {
    const nodes = kViews.map(([name, text]) => el("button", {
      role: "tab", id: `view-${name}`, "aria-controls": "panes", onclick: () => choose(name)
    }, text));
    const choose = (name) => state.set({
      view: name, pin: state.values.words && (name === "neuron" || state.values.view === "neuron")
        ? "" : state.values.pin});
    byId("views").append(...nodes);
    byId("views").addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!step || event.shiftKey) return;
      const at = kViews.findIndex(([name]) => name === state.values.view) + step;
      const to = (at + kViews.length) % kViews.length;
      choose(kViews[to][0]);
      nodes[to].focus();
    });
    updates.push(() => kViews.forEach(([name], i) => {
      const chosen = name === state.values.view;
      nodes[i].setAttribute("aria-selected", String(chosen));
      nodes[i].tabIndex = chosen ? 0 : -1;
    }));
  }

  function common(panes) {
    const anew = {pin: "", step: 0, open: -1, detail: "", detail2: ""};
    const text = select("Text", "text", header.texts.map((t, i) => [i, t.name]), anew);
    const pairs = select("Pairs", "pairs", [["all", "All"], ["aa", "A → A"], ["ab", "A → B"],
                                            ["ba", "B → A"], ["bb", "B → B"]], {pin: "", open: -1});
    const words = check("Whole words", "words", {pin: ""});
    const mean = check("Mean of the heads", "mean");
    const order = select("Order heads by", "order", [["number", "number"], ["entropy", "entropy"]]);
    const thumbs = select("Thumbnails", "thumbs", [["lines", "lines"], ["cells", "cells"]]);
    const scale = select("Scale", "scale", [["linear", "linear"], ["root", "square root"],
                                            ["row", "largest of the row"]]);
    const zoom = el("span", {class: "controls"},
      ...[["−", "Smaller cells", 0.8], ["+", "Larger cells", 1.25]].map(([sign, label, factor]) =>
        el("button", {"aria-label": label, onclick: () => {
          const {plot} = panes[0].view;
          plot.zoomTo(plot.cell * factor);
        }}, sign)), el("button", {onclick: () => state.set({zoom: 0})}, "Fit"));
    const threshold = slider("Hide below", "threshold", {
      max: 100, to: (x) => +((x / 100) ** 2).toFixed(4), from: (v) => Math.sqrt(v) * 100,
      shown: (v) => v.toFixed(3)});
    const strength = slider("Strength", "strength", {
      max: 20, to: (x) => +(2 ** (x / 4)).toFixed(2), from: (v) => Math.log2(v) * 4,
      shown: (v) => `×${+v.toFixed(1)}`});
    const step = slider("Step", "step", {
      max: 1, to: (x) => x, from: (v) => v,
      shown: (v) => v ? `${v} of ${main.steps()}` : "all"});
    const saves = el("span", {class: "controls"}, el("span", {}, "Save"),
      ...["svg", "png", "csv"].map((kind) =>
        el("button", {onclick: () => weft.save.file(kind)}, kind.toUpperCase())));
    byId("controls").append(text, pairs, step, words, mean, order, thumbs, scale, zoom, threshold,
                            strength, saves);
    updates.push(() => {
      const {view} = state.values, {pass} = panes[0], steps = main.steps();
      show(text, header.texts.length > 1);
      show(pairs, pass.pair_from !== null);
      show(step, steps > 0);
      step.box.max = steps;
      show(words, view !== "neuron");
      show(mean, view === "head" && panes.some((p) => derived.heads(p.pass).length > 1));
      show(order, view === "head" || view === "model");
      show(thumbs, view === "model");
      show(scale, view === "matrix");
      show(zoom, view === "matrix");
    });
  }

  // A model's own: layer, head, squares.
  function own(pane) {
    const s = pane.suffix, {model} = pane, of = header.models.length > 1 ? ` of ${model.name}` : "";
    const layer = select("Layer", `layer${s}`, [
      ...(s ? [["depth", "same depth"]] : []),
      ...model.shown_layers.map((l, i) => [i, String(l)]),
      ["mean", "mean of layers"], ["rollout", "rollout"]], {}, of);
    const head = select("Head", `head${s}`, [
      ...model.shown_heads.map((h, i) => [i, String(h)]), ["mean", "mean of heads"]], {}, of);
    const n = model.shown_heads.length, key = `heads${s}`;
    const choose = (heads) => state.set(
      {[key]: heads.length === n ? "" : heads.sort((a, b) => a - b).join(".")});
    const isolate = (h) => {
      const active = pane.activeHeads();
      choose(active.length === 1 && active[0] === h ? derived.heads(pane.pass) : [h]);
    };
    const squares = el("div", {class: "squares", role: "group", "aria-label": `Heads${of}`});
    const nodes = model.shown_heads.map((number, h) => el("button", {
      "aria-label": `Head ${number}`,
      onclick: (event) => {
        if (event.shiftKey) return isolate(h);
        const active = pane.activeHeads(), on = active.includes(h);
        if (!on) choose([...active, h]);
        else if (active.length > 1) choose(active.filter((other) => other !== h));
      },
      ondblclick: () => isolate(h),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !event.shiftKey) return;
        event.preventDefault();
        isolate(h);
      }
    }, String(number), el("i")));
    pane.bar.append(layer, head, squares);
    let shown = "";
    updates.push(() => {
      const {view, order, mean} = state.values, at = pane.layer();
      show(pane.bar, view !== "model");
      show(layer, view !== "model");
      show(head, view === "neuron" || (view === "matrix" && at !== "rollout"));
      layer.lastChild.value = s && state.values[`layer${s}`] === "depth" ? "depth" : at;
      head.lastChild.value = pane.head(view === "matrix");
      for (const option of layer.lastChild.options) {
        option.disabled = (view === "neuron" && ["mean", "rollout"].includes(option.value))
          || (option.value === "rollout" && pane.pass.tokens.length > derived.kRolloutTokens);
      }
      head.lastChild.lastChild.disabled = view === "neuron";
      show(squares, view === "head" && n > 1 && at !== "rollout");
      if (squares.hidden) return;
      const active = pane.activeHeads(), numeric = /^\d+$/.test(at);
      const sorted = numeric ? derived.ordered(pane.pass, +at, order) : derived.heads(pane.pass);
      if (shown !== sorted.join()) squares.append(...sorted.map((h) => nodes[h]));
      shown = sorted.join();
      const entropy = numeric ? pane.pass.entropy[+at] : null, most = Math.max(...entropy ?? [1]);
      nodes.forEach((node, h) => {
        const on = active.includes(h), color = colors.css(colors.one(h, n));
        node.setAttribute("aria-pressed", String(on));
        node.style.borderColor = color;
        node.style.background = on ? color : theme.paper;
        node.style.color = on ? theme.paper : theme.ink;
        node.style.opacity = mean && !on ? 0.75 : 1;
        node.lastChild.style.width = entropy ? `${100 * entropy[h] / (most || 1)}%` : "0";
        node.title = entropy ? `entropy ${entropy[h].toFixed(2)} nats` : "";
      });
    });
  }

  function build(panes) {
    tabs();
    common(panes);
    panes.forEach(own);
  }

  return {build, update: () => { for (const update of updates) update(); }};
})();
