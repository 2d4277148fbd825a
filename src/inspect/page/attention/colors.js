// The page's colours as the canvas needs them, and one for each of any number of heads or layers.
const colors = weft.colors = (() => {
  const theme = {};
  let known = new Map();

  function read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "ink", "faint", "rule", "stripe", "edge", "accent", "mark",
                        "positive", "negative"]) {
      theme[name] = style.getPropertyValue("--" + name).trim();
    }
    known = new Map();
  }

  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  function luminance(rgb) {
    const [r, g, b] = rgb.map((c) => c / 255 <= 0.04045 ? c / 3294.6
        : ((c / 255 + .055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function contrast(a, b) {
    const x = luminance(a) + 0.05, y = luminance(b) + 0.05;
    return Math.max(x, y) / Math.min(x, y);
  }

  function fromHsl(hue, saturation, lightness) {
    const a = saturation * Math.min(lightness, 1 - lightness);
    return [0, 8, 4].map((n) => {
      const k = (n + hue / 30) % 12;
      return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    });
  }

  // [r, g, b] of the i-th of n: hues around the circle, as light as 4.5 : 1 on the paper allows,
  // every second one further from the paper where they are many.
  function one(i, n) {
    const key = i * 4096 + n;
    if (known.has(key)) return known.get(key);
    const paper = channels(theme.paper), away = luminance(paper) > 0.5 ? -0.01 : 0.01;
    const wanted = n > 8 && i % 2 ? 7.5 : 4.6;
    let lightness = away < 0 ? 0.55 : 0.5;
    let rgb = fromHsl(210 + 360 * i / n, 0.72, lightness);
    while (contrast(rgb, paper) < wanted && lightness > 0.02 && lightness < 0.98) {
      rgb = fromHsl(210 + 360 * i / n, 0.72, lightness += away);
    }
    known.set(key, rgb);
    return rgb;
  }

  const css = (rgb, alpha = 1) => `rgba(${rgb[0]},${rgb[1]},${rgb[2]},${+alpha.toFixed(3)})`;
  read();
  return {theme, read, one, css, channels, contrast};
})();
const theme = colors.theme;
