// What every picture draws with, on a canvas or into an SVG (save.js).
function fill(ctx, color, x, y, w, h) {
  ctx.fillStyle = color;
  ctx.fillRect(x, y, w, h);
}
function frame(ctx, color, width, x, y, w, h) {
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.strokeRect(x, y, w, h);
}
// `align`: where (x, y), on the text's middle line, is of the text; squeezed into `most` pixels.
function write(ctx, face, color, align, text, x, y, most) {
  ctx.font = face;
  ctx.fillStyle = color;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.direction = "ltr";
  ctx.fillText(text, x, y, most);
}
const font = (size, bold) =>
  `${bold ? "600 " : ""}${size}px system-ui, "Liberation Sans", sans-serif`;
// The widest label of an axis; only those that may be are measured.
function widest(ctx, {groups}, least) {
  return Math.ceil(groups.reduce((most, {label}) => label.length * 15 < most ? most
    : Math.max(most, ctx.measureText(label).width), least));
}
// The weight of all keys that were not kept is known of maps that have `rests`.
const hasRest = (channel) => Boolean(channel.map.rests || channel.map.parts?.[0].rests);
