// What the page was given: the header at once, a layer's numbers when it is first shown.
weft.data = (() => {
  const header = JSON.parse(byId("weft").textContent);
  const decoded = new Map();

  function bytes(id) {
    const element = byId(id);
    if (!element) throw new Error(`this page lacks its part ${id}: was it cut short?`);
    const text = element.textContent.trim();
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  // Decodes once; make(bytes) says what a blob becomes.
  function once(id, make) {
    if (!decoded.has(id)) decoded.set(id, make(bytes(id)));
    return decoded.get(id);
  }

  const shorts = (b) => new Uint16Array(b.buffer, b.byteOffset, b.length >> 1);
  let halves = null;
  // (65536) the value of each IEEE half.
  function halfTable() {
    if (halves) return halves;
    halves = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31, fraction = bits & 1023;
      const size = exponent === 0 ? fraction * 2 ** -24
        : exponent === 31 ? (fraction ? NaN : Infinity)
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
      halves[bits] = bits >> 15 ? -size : size;
    }
    return halves;
  }

  // A map answers two questions, for tokens put together in groups (words, one of two sentences):
  //   addRow(t, colOf, out, factor)          out[colOf[j]] += factor * w[t][j]
  //   addColumn(from, to, rowOf, share, out) out[rowOf[t]] += share[rowOf[t]] * the sum over [from,
  //                                          to) of w[t]
  // where a group of -1 takes no part. rest(t) is the weight that was not kept.
  class Dense {
    constructor(values, start, T, unit, rests) {
      Object.assign(this, {values, start, T, unit, rests});
    }
    addRow(t, colOf, out, factor) {
      const {values, T} = this, at = this.start + t * T, f = factor * this.unit;
      for (let j = 0; j < T; j++) if (colOf[j] >= 0) out[colOf[j]] += f * values[at + j];
    }
    addColumn(from, to, rowOf, share, out) {
      const {values, T, unit} = this;
      for (let t = 0; t < T; t++) {
        const r = rowOf[t];
        if (r < 0) continue;
        let sum = 0;
        for (let j = from, at = this.start + t * T; j < to; j++) sum += values[at + j];
        out[r] += share[r] * unit * sum;
      }
    }
    rest(t) { return this.rests ? this.rests[t] : 0; }
  }

  class Sparse {
    constructor(index, weight, rest, head, T, k) {
      const at = head * T * k;
      this.index = index.subarray(at, at + T * k);
      this.weight = weight.subarray(at, at + T * k);
      this.rests = rest.subarray(head * T, head * T + T);
      Object.assign(this, {T, k});
    }
    addRow(t, colOf, out, factor) {
      for (let e = t * this.k; e < (t + 1) * this.k && this.index[e] !== 65535; e++) {
        const c = colOf[this.index[e]];
        if (c >= 0) out[c] += factor * this.weight[e] / 65535;
      }
    }
    addColumn(from, to, rowOf, share, out) {
      const {T, k, index, weight} = this;
      for (let t = 0; t < T; t++) {
        const r = rowOf[t];
        if (r < 0) continue;
        for (let e = t * k; e < (t + 1) * k; e++) {
          if (index[e] >= from && index[e] < to) out[r] += share[r] * weight[e] / 65535;
        }
      }
    }
    rest(t) { return this.rests[t] / 65535; }
  }

  // The map of one shown head (an index) of one shown layer of a pass.
  function map(pass, layer, head) {
    const {k, blobs} = pass.maps, T = pass.tokens.length, H = pass.entropy[layer].length;
    const values = once(blobs[layer], shorts);
    if (values.length !== (k ? H * T * (2 * k + 1) : H * T * T)) {
      throw new Error(`part ${blobs[layer]} of this page has not the size that its header says`);
    }
    if (!k) return new Dense(values, head * T * T, T, 1 / 65535);
    const n = H * T * k;
    return new Sparse(values.subarray(0, n), values.subarray(n, 2 * n), values.subarray(2 * n),
                      head, T, k);
  }

  // {q: (T, D), k: (T, D)} as functions of (t, d), for one shown head; null where there are none.
  function vectors(model, pass, layer, head) {
    const {blobs, kv_of, n_kv} = pass.vectors;
    if (!blobs) return null;
    const values = once(blobs[layer], (b) => {
      const table = halfTable();
      return Float32Array.from(shorts(b), (x) => table[x]);
    });
    const D = model.head_dim, H = kv_of.length, keys = pass.tokens.length * H * D;
    return {
      q: (t, d) => values[(t * H + head) * D + d],
      k: (t, d) => values[keys + (t * n_kv + kv_of[head]) * D + d]
    };
  }

  return {header, map, vectors, Dense};
})();
