#!/usr/bin/env python3
"""A report's page in a real browser, headless and without a network: nothing on the console, every
chart drawn, no label on another or outside its chart, light, dark and printed.
  chromium.py WEFT [FOLDER]           of made-up logs; FOLDER keeps the pages and pictures
  chromium.py WEFT --scaling SCRIPT   of what launch/scaling.sh leaves on 1, 2 and 4 ranks here
"""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

import study

# Added to a copy of the page: the page itself holds no script.
MEASURE = """<pre id="measured"></pre><script>
addEventListener("load", () => {
  const box = (e) => { const r = e.getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom]; };
  const channels = (color) => color.match(/[0-9.]+/g).slice(0, 3).map(Number);
  document.getElementById("measured").textContent = JSON.stringify({
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    title: document.title,
    paper: channels(getComputedStyle(document.body).backgroundColor),
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    charts: [...document.querySelectorAll("svg")].map((svg) => ({
      name: svg.getAttribute("aria-label"),
      box: box(svg), inner: [svg.getBBox().width, svg.getBBox().height],
      marks: [...svg.querySelectorAll(":not(defs) > polyline, :not(pattern) > rect, circle")]
        .filter((e) => { const b = e.getBBox(); return b.width + b.height > 0; }).length,
      empty: [...svg.querySelectorAll("polyline")]
        .filter((e) => e.getBBox().width + e.getBBox().height == 0).length,
      colors: [...svg.querySelectorAll("polyline.line")]
        .map((e) => channels(getComputedStyle(e).stroke)),
      texts: [...svg.querySelectorAll("text")].map((e) => ({
        text: e.textContent, box: box(e), color: channels(getComputedStyle(e).fill) }))
    }))});
});
</script></body>"""


def chromium(*args):
    """Without a network, and with a profile of its own."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        sys.exit("chromium is not here: launch/test.sh installs it (Debian: chromium)")
    alone = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        alone = []  # a container may forbid it; what a page names is looked at besides
    with tempfile.TemporaryDirectory(prefix="weft_chromium_") as profile:
        done = subprocess.run([
            *alone, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr",
            f"--user-data-dir={profile}", "--virtual-time-budget=5000", *args
        ], capture_output=True, timeout=240, check=False)
    stderr = done.stderr.decode("utf-8", "replace")
    assert done.returncode == 0, stderr[-2000:]
    # The browser has pages of its own (chrome://), which speak there too.
    said = [l for l in stderr.splitlines() if "CONSOLE" in l and "source: chrome://" not in l]
    assert not said, said
    return done.stdout.decode("utf-8", "replace")


def luminance(color):
    parts = [c / 255 for c in color]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055)**2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 3


def check_chart(chart, paper):
    name, (left, top, right, bottom) = chart["name"], chart["box"]
    assert right - left > 300 and bottom - top > 80, (name, chart["box"])
    assert min(chart["inner"]) > 50, (name, chart["inner"])
    assert chart["marks"] >= 1 and chart["empty"] == 0, (name, chart["marks"], chart["empty"])
    texts = chart["texts"]
    assert len(texts) >= 4, (name, texts)
    for i, a in enumerate(texts):
        x1, y1, x2, y2 = a["box"]
        assert x1 >= left - 1 and x2 <= right + 1 and y1 >= top - 1 and y2 <= bottom + 1, (name, a)
        assert contrast(a["color"], paper) >= 4.5, (name, a, paper)
        for b in texts[i + 1:]:
            assert not overlap(a["box"], b["box"]), (name, a, b)
    for color in chart["colors"]:
        assert contrast(color, paper) >= 3, (name, color, paper)


def measure(page, charts, dark):
    copy = page.with_name("measured-" + page.name)
    text = page.read_text()
    assert text.count("</body>") == 1
    copy.write_text(text.replace("</body>", MEASURE))
    dom = chromium("--window-size=1100,900", *(["--blink-settings=preferredColorScheme=0"]
                                               if dark else []), "--dump-dom", copy.as_uri())
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.S).group(1)
    for mark, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        found = found.replace(mark, character)
    page_facts = json.loads(found)
    assert page_facts["dark"] == dark, page_facts["dark"]
    assert page_facts["title"].startswith("Weft: "), page_facts["title"]
    assert not page_facts["wide"], "the page is wider than its window"
    assert (luminance(page_facts["paper"]) < 0.2) == dark, page_facts["paper"]
    names = [chart["name"] for chart in page_facts["charts"]]
    for name in charts:
        assert any(n.startswith(name) for n in names), (name, names)
    for chart in page_facts["charts"]:
        check_chart(chart, page_facts["paper"])
    return len(names)


def corner(picture):
    """The first pixel of a PNG of eight bits a channel, and its size."""
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", picture
    width, height = struct.unpack(">II", data[16:24])
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    rows = zlib.decompress(packed)
    return list(rows[1:4]), width, height  # no filter changes a row's first pixel above nothing


def look(page, dark):
    picture = page.with_name(page.stem + ("-dark" if dark else "-light") + ".png")
    chromium("--window-size=1100,6500", *(["--blink-settings=preferredColorScheme=0"]
                                          if dark else []), f"--screenshot={picture}",
             page.as_uri())
    color, width, height = corner(picture)
    assert (width, height) == (1100, 6500), (width, height)
    assert (luminance(color) < 0.2) == dark, color


def check(weft, folder):
    study.make(folder / "runs")
    pages = {
        "all": [folder / "runs"],
        "two": [folder / "runs" / "strong-tp1-pp1-dp1-1", folder / "runs" / "long"]
    }
    for name, runs in pages.items():
        page = folder / f"{name}.html"
        done = subprocess.run([weft, "report", *runs, "--out", page], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        text = page.read_text()
        for word in ("http:", "https:", "<script", "<img", "<link", "src="):
            assert word not in text.replace("&lt;img src=", ""), word
    every = ("Speed-up at constant work", "Speed-up at constant work a rank", "Efficiency",
             "Shares of the time", "Time to the first token", "Time from token to token",
             "Shares of the measured matmul peak", "Bytes that all ranks send", "Loss",
             "Tokens a second")
    n = measure(folder / "all.html", every, False)
    assert n == measure(folder / "all.html", every, True)
    measure(folder / "two.html", ("Loss of long less", "Loss", "Tokens a second"), False)
    for dark in (False, True):
        look(folder / "all.html", dark)
    chromium(f"--print-to-pdf={folder / 'all.pdf'}", "--no-pdf-header-footer",
             (folder / "all.html").as_uri())
    printed = (folder / "all.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and len(printed) > 30_000, len(printed)
    print(f"{n} charts are drawn, light, dark and printed")


RECIPE = """family = "gpt2"
layers = 2
width = 32
heads = 4
context = 32
"""


def check_scaling(weft, script, folder):
    (folder / "recipe.toml").write_text(RECIPE)
    done = subprocess.run([
        script, "--grids", "1x1x1 2x1x1 2x1x2", "--repeats", "1", "--steps", "6", "--new-tokens",
        "4", "--config", folder / "recipe.toml", "--out", folder / "study"
    ], env=os.environ | {"WEFT": str(weft)}, capture_output=True, text=True, timeout=500,
        check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    n = measure(folder / "study" / "report.html",
                ("Speed-up at constant work", "Efficiency", "Shares of the time", "Loss"), False)
    print(f"{n} charts of a scaling study are drawn")


def main():
    weft = pathlib.Path(sys.argv[1]).resolve()
    if sys.argv[2:3] == ["--scaling"]:
        with tempfile.TemporaryDirectory(prefix="weft_scaling_") as temporary:
            return check_scaling(weft, sys.argv[3], pathlib.Path(temporary))
    if len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2]).resolve()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return check(weft, folder)
    with tempfile.TemporaryDirectory(prefix="weft_report_") as temporary:
        return check(weft, pathlib.Path(temporary))


if __name__ == "__main__":
    main()
