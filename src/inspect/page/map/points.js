// What the page shows: header.points are {label, id, group, asked}, their places the blob b0
// (little-endian floats, x and y of each).
weft.header = JSON.parse(byId("weft").textContent);
weft.points = (() => {
  const bytes = Uint8Array.from(atob(byId("b0").textContent.trim()), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return weft.header.points.map((point, i) => ({
    ...point, i, x: view.getFloat32(8 * i, true), y: view.getFloat32(8 * i + 4, true)
  }));
})();

// The box around them, with room at its edges; never flat.
weft.bounds = (points) => {
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  const range = (all) => {
    const low = all.reduce((a, b) => Math.min(a, b), Infinity);
    const high = all.reduce((a, b) => Math.max(a, b), -Infinity);
    const pad = 0.06 * (high - low) || 1;
    return [low - pad, high + pad];
  };
  return points.length ? [range(xs), range(ys)] : [[-1, 1], [-1, 1]];
};
