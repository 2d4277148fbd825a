"""A page in the browser as its tests drive it, and what holds of every page."""
import array
import base64
import csv
import io
import json
import pathlib
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree

from asked import CONTRAST, ERROR, INK, MOVES, PLACE, READY, THEME, TIP, UNNAMED

ROOT = pathlib.Path(__file__).resolve().parents[3]
KINDS = ("head", "model", "neuron", "matrix")


def template():
    """The page put together as the build does it."""
    with tempfile.TemporaryDirectory(prefix="weft_page_") as folder:
        html = pathlib.Path(folder) / "attention.html"
        subprocess.run(["cmake", f"-DTEMPLATE={ROOT / 'src/inspect/page/attention.html'}",
                        "-DNAME=kAttentionPage", f"-DOUT={folder}/attention.cpp", f"-DHTML={html}",
                        "-P", ROOT / "cmake/inline_page.cmake"], check=True)
        return html.read_text()


class Data:
    """What a page was given, read from its file without the page's own code."""

    def __init__(self, page):
        text = page.read_text()
        self.header = json.loads(re.search(r'<script id="weft"[^>]*>(.*?)</script>', text, re.S)[1])
        self.blobs = dict(re.findall(r'<script id="(b\d+)"[^>]*>([^<]*)</script>', text))

    def view(self, text=0, model=0):
        return self.header["texts"][text]["views"][model]

    def rows(self, view, layer, head):
        """[{key: weight} a query]"""
        values = array.array("H", base64.b64decode(self.blobs[view["maps"]["blobs"][layer]]))
        T, k, H = len(view["tokens"]), view["maps"]["k"], len(view["entropy"][layer])
        if not k:
            at = head * T * T
            return [{j: w / 65535 for j, w in enumerate(values[at + i * T:at + i * T + T]) if w}
                    for i in range(T)]
        at, n = head * T * k, H * T * k
        return [{values[at + i * k + e]: values[n + at + i * k + e] / 65535 for e in range(k)
                 if values[at + i * k + e] != 65535} for i in range(T)]


class Page:
    """A page that is open, and the pointer over it."""

    def __init__(self, b, folder, keep):
        self.b, self.folder, self.keep = b, folder, keep

    def page(self, name, state=""):
        self.file = self.folder / f"{name}.html"
        self.b.open(self.file, state)
        self.quiet()
        return Data(self.file)

    def quiet(self):
        said = [line for line in self.b.said() if "chrome://" not in line]
        assert not said, said
        assert not self.b.js(ERROR), self.b.js(ERROR)

    def place(self, q=None, k=None, pane=0, plot=None):
        return self.b.js(PLACE, {"q": q, "k": k}, pane, plot)

    def point(self, q=None, k=None, clicks=0, pane=0, plot=None):
        self.b.point(*self.place(q, k, pane, plot), clicks)

    def state(self, name):
        return self.b.js("return weft.state.values[arguments[0]]", name)

    def picture(self):
        return self.b.js("return weft.main.panes[0].view.plot.stage.canvas.toDataURL()")

    def look(self, name):
        if self.keep:
            self.b.picture(self.keep / f"{name}.png")

    def away(self):
        self.b.point(5, 5)
        assert not self.b.js(TIP)

    # The best of three: other processes of this machine are not the page's.
    def ready(self, name, state):
        times = []
        for _ in range(3):
            self.page(name, state)
            times.append(self.b.js(READY))
            if times[-1] < 500:
                break
        return min(times)


def check_look(b, dark, width):
    assert (b.js("return weft.colors.contrast(weft.colors.channels(weft.colors.theme.paper),"
                 " [0, 0, 0])") < 2) == dark
    wide = b.js("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert wide[0] <= wide[1] <= width, wide
    low = b.js(CONTRAST)
    assert not low, low
    for name, under, ratio in b.js(THEME):
        assert ratio >= (3 if name == "edge" else 4.5), (name, under, ratio, dark)
    colors = b.js("""const n = 64, paper = weft.colors.channels(weft.colors.theme.paper);
        return Math.min(...Array.from({length: n}, (_, i) =>
          weft.colors.contrast(weft.colors.one(i, n), paper)))""")
    assert colors >= 4.5, colors
    unnamed = b.js(UNNAMED)
    assert not unnamed, unnamed


def check_page(b, page, keep):
    """What holds of every page; its data are read here and looked for there."""
    text = page.read_text()
    data = Data(page)
    code = text[:text.index('<script id="weft"')] + text[text.rindex("<script>"):]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|\bsrc=|<link|@import", code)
    pages = Page(b, page.parent, keep)
    for t, entry in enumerate(data.header["texts"]):
        for m, view in enumerate(entry["views"]):
            for head in range(len(view["entropy"][0])):
                for i, row in enumerate(data.rows(view, 0, head)):
                    total = sum(row.values())
                    assert (0 if view["maps"]["k"] else 0.9) < total < 1.01, (t, m, head, i)
    for kind in KINDS:
        for dark in (False, True):
            b.dark(dark)
            for width in (1280, 2560):
                b.window(width, 1000)
                pages.page(page.stem, f"view={kind}&detail=0.0&open=1")
                time.sleep(0.3)
                check_look(b, dark, width)
                assert b.js(INK) > 500, (kind, dark, width)
                pages.look(f"{page.stem}-{kind}-{'dark' if dark else 'light'}-{width}")
        svg = b.js("return weft.save.svg(weft.main.panes[0].view.plot)")
        xml.etree.ElementTree.fromstring(svg)
    b.dark(False)
    pages.page(page.stem, "pin=q1")
    ready = pages.ready(page.stem, "pin=q1")
    lines = list(csv.DictReader(io.StringIO(b.js("return weft.save.csv(weft.main.panes)"),
                                            newline="")))
    tokens = [token for view in data.header["texts"][0]["views"] for token in view["tokens"]]
    assert lines and {line["query"] for line in lines} <= set(tokens)
    found = b.js(MOVES, "plot")
    print(f"{page.name}: ready {ready:.0f} ms after its start; a move took {found['p95']:.1f} ms at"
          f" the 95th percentile (in the first pass {found['first']:.1f})")
    assert found["p95"] < 16, found
    pages.quiet()
