#!/usr/bin/env python3
"""The attention page in a real browser, from file://, without a network: gestures, keys, pictures,
numbers against the data it was given, light, dark, printed, and how fast it answers.
  page_test.py [--template FILE] [--keep FOLDER] [TEST ...]   pages of made-up attention
  page_test.py --page FILE [--keep FOLDER]                    a page that weft wrote
Without --template the page is put together from src/inspect/page.
"""
import argparse
import base64
import csv
import io
import pathlib
import re
import tempfile
import time
import traceback
import xml.etree.ElementTree

import browser
import driver
import make_fixture
from asked import INK, LIVE, MOVES, PIXEL, PLACE, READ, TIP


class Tests(driver.Page):
    """What a user does, view by view."""

    def test_head_view(self):
        data = self.page("small")
        view, b = data.view(), self.b
        self.away()
        before, ink = self.picture(), b.js(INK)
        assert ink > 5000, ink
        self.point(q=7)
        tip = b.js(TIP)
        assert tip.startswith("query 7 “s” looks at"), tip
        rows = [data.rows(view, 0, head)[7] for head in range(4)]
        mean = {j: sum(row.get(j, 0) for row in rows) / 4 for j in range(8)}
        best = max(mean, key=mean.get)
        assert f"{mean[best]:.3f}" in tip.split("\n")[2] and f"{best} “" in tip, (tip, best, mean)
        assert b.js(INK) < ink, "the other tokens' lines stay"
        b.wait(LIVE, "the live region speaks")
        assert f"{mean[best]:.3f}" in b.js(LIVE), b.js(LIVE)
        # A stripe a head behind the key, as strong as the head's weight.
        shown = b.js("""const p = weft.main.panes[0].view.plot;
            return [p.right, p.label[1], p.middle(1, arguments[0]) - 8]""", best)
        left, top = b.js("""const r = weft.main.panes[0].view.plot.stage.canvas
            .getBoundingClientRect();
            return [r.left, r.top]""")
        for head in range(4):
            x = left + shown[0] + (head + 0.5) * shown[1] / 4
            alpha = b.js(PIXEL, x, top + shown[2])[3]
            assert abs(alpha - 255 * 0.62 * rows[head].get(best, 0)) < 6, (head, alpha, rows[head])
        self.point(k=0)
        assert b.js(TIP).startswith("key 0 “The” is seen by"), b.js(TIP)
        self.away()
        assert self.picture() == before, "leaving resets"
        # A pin stays, and a pair may be asked for.
        self.point(q=7, clicks=1)
        assert self.state("pin") == "q7"
        self.point(k=best)
        tip = b.js(TIP)
        order = sorted(rows[0].values(), reverse=True)
        assert f"rank {order.index(rows[0][best]) + 1} of 8" in tip, tip
        self.away()
        assert self.picture() != before
        self.point(q=7, clicks=1)
        assert self.state("pin") == ""
        self.quiet()

    def test_squares(self):
        self.page("small")
        b = self.b
        square = lambda h: b.js("""const r = document.querySelectorAll(".squares button")[
            arguments[0]].getBoundingClientRect(); return [r.left + 8, r.top + 8]""", h)
        pressed = lambda: b.js("""return [...document.querySelectorAll(".squares button")]
            .map((e) => e.getAttribute("aria-pressed")).join()""")
        b.point(*square(1), 1)
        assert pressed() == "true,false,true,true", pressed()
        time.sleep(0.6)  # no double click
        b.point(*square(2), 2)
        assert pressed() == "false,false,true,false", pressed()
        time.sleep(0.6)
        b.point(*square(2), 1)
        assert pressed() == "false,false,true,false", "the last stays on"
        time.sleep(0.6)
        b.point(*square(2), 2)
        assert pressed() == "true,true,true,true", pressed()
        b.js("document.querySelectorAll('.squares button')[3].focus()")
        b.key("Shift", "Enter")
        assert pressed() == "false,false,false,true", pressed()
        self.quiet()

    def test_keys(self):
        self.page("small")
        b = self.b
        b.js("weft.main.panes[0].view.plot.stage.canvas.focus()")
        b.key("Down")
        assert b.js(TIP).startswith("query 0 "), b.js(TIP)
        b.key("Down")
        b.key("Down")
        assert b.js(LIVE).startswith("query 2 "), b.js(LIVE)
        b.key("Right")
        assert b.js(TIP).startswith("key 2 "), b.js(TIP)
        b.key("Enter")
        assert self.state("pin") == "k2"
        b.key("Escape")
        assert self.state("pin") == "" and not b.js(TIP)
        b.key("Shift", "Down")
        assert self.state("layer") == "1"
        b.key("Shift", "Right")
        assert self.state("heads") == "0"
        b.js("document.getElementById('view-head').focus()")
        for kind in ("model", "neuron", "matrix", "head"):
            b.key("Right")
            assert self.state("view") == kind
            assert b.js("return document.activeElement.id") == f"view-{kind}"
        # Everything is reached by the tabulator.
        seen = set()
        for _ in range(40):
            b.key("Tab")
            seen.add(b.js("const e = document.activeElement; return e.tagName + (e.type || '')"))
        assert {"CANVAS", "BUTTONsubmit", "SELECTselect-one", "INPUTrange", "INPUTcheckbox",
                "SUMMARY"} <= seen, seen
        self.quiet()

    def test_views(self):
        self.page("small")
        for kind in ("model", "neuron", "matrix", "head"):
            x, y = self.b.js("""const r = document.getElementById("view-" + arguments[0])
                .getBoundingClientRect(); return [r.left + 9, r.top + 9]""", kind)
            self.b.point(x, y, 1)
            assert self.state("view") == kind
            self.b.wait("return (() => {" + INK + "})() > 3000", f"{kind} is drawn")
            self.quiet()

    def test_state(self):
        self.page("texts", "view=matrix&text=1&layer=1&head=3&zoom=20&threshold=0.04&words=1")
        b = self.b
        shown = lambda: b.js("""return [...document.querySelectorAll("label select, label input")]
            .filter((e) => e.checkVisibility()).map((e) => e.type === "checkbox" ? e.checked
                : e.value)""")
        before, picture = shown(), self.picture()
        assert "1" in before and "3" in before and True in before, before
        b.js("weft.main.pin(weft.main.panes[0], {q: 2, k: 1}); weft.state.set({head: '5'})")
        b.wait("return location.hash.includes('pin=q2k1') && location.hash.includes('head=5')",
               "the address follows")
        pinned = self.picture()
        assert pinned != picture
        b.call("POST", "/refresh", {})
        assert self.picture() == pinned, "a reload shows the same"
        b.js("location.hash = '#view=matrix&text=1&layer=1&head=3&zoom=20&threshold=0.04&words=1'")
        b.wait("return weft.state.values.pin === ''", "the address is followed")
        assert self.picture() == picture and shown() == before
        # Nonsense in an address is no error.
        self.page("small", "view=x&layer=99&heads=7.x&pin=q999&text=5&strength=-1&detail=9.9&step=4"
                  "&none=1")
        assert self.b.js(INK) > 3000
        self.quiet()

    def test_model_view(self):
        self.page("small", "view=model")
        b = self.b
        b.wait("return weft.main.panes[0].view.plot.image.done === 12", "all thumbnails are there")
        place = b.js(PLACE, [1, 2])
        b.point(*place)
        assert b.js(TIP).startswith("Layer 1, head 2\n\tentropy, nats"), b.js(TIP)
        b.point(*place, 1)
        assert self.state("detail") == "1.2"
        assert b.js("return document.querySelector('.detail h2').innerText") == "Layer 1, head 2"
        self.point(q=3, plot="detail")
        assert b.js(TIP).startswith("query 3 “ brow” looks at\nLayer 1, head 2"), b.js(TIP)
        time.sleep(0.6)
        b.point(*b.js(PLACE, [1, 2]), 1)
        assert self.state("detail") == ""
        assert not b.js("return document.querySelector('.detail').checkVisibility()")
        b.js("weft.main.panes[0].view.plot.stage.canvas.focus()")
        self.away()
        for name in ("Down", "Down", "Right", "Enter"):
            b.key(name)
        assert self.state("detail") == "1.1", self.state("detail")
        # Thumbnails differ, as the heads do.
        b.wait("return weft.main.panes[0].view.plot.image.done === 12", "all thumbnails are there")
        pictures = b.js(READ + """const p = weft.main.panes[0].view.plot, found = new Set();
            const s = p.side;
            for (let l = 0; l < 3; l++) for (let h = 0; h < 4; h++) {
              const [x, y] = p.corner(l, h);
              found.add(copy(p.image.canvas, x, y, s, s).join());
            } return found.size""")
        assert pictures == 12, pictures
        self.quiet()

    def test_neuron_view(self):
        data = self.page("gemma", "view=neuron&head=3")
        b, view = self.b, data.view()
        x, y = self.place(q=9)
        b.point(x, y)
        left = b.js("return weft.main.panes[0].view.plot.stage.canvas.getBoundingClientRect().left")
        b.point(left + 9, y, 1)
        assert self.state("open") == 9
        b.point(*self.place(k=2))
        assert "masked: never seen" in b.js(TIP), "outside the window of 6"
        b.point(*self.place(k=12))
        assert "masked: never seen" in b.js(TIP), "after the query"
        b.point(*self.place(k=7))
        weight = data.rows(view, 0, 3)[9][7]
        assert f"{weight:.3f}" in b.js(TIP) and "dimension" in b.js(TIP), b.js(TIP)
        # The scores' softmax is the map.
        worst = b.js("""const p = weft.main.panes[0].view.plot, [from, to] = p.seen();
            const e = []; for (let k = from; k < to; k++) e.push(Math.exp(
              weft.derived.score(p.pane.pass, p.layer, p.product(k))));
            const sum = e.reduce((a, x) => a + x, 0);
            return [to - from, Math.max(...e.map(
              (x, i) => Math.abs(x / sum - p.weights[from + i])))]""")
        assert worst[0] == 6 and worst[1] < 2e-3, worst
        b.point(*self.place(q=4))
        assert b.js("return weft.main.panes[0].view.plot.q") == 4, "another query by pointing"
        self.look("neuron-gemma")
        b.js("weft.main.panes[0].view.plot.stage.canvas.focus()")
        b.key("Down")
        assert b.js("return weft.main.panes[0].view.plot.q") == 5
        b.key("-")
        assert self.state("open") == -1
        b.key("+")
        assert self.state("open") == 0, self.state("open")
        self.page("two", "view=neuron")
        assert "Queries and keys are not here: they were left out" in b.js(
            "return document.querySelectorAll('.missing')[1].innerText")
        self.quiet()

    def test_matrix_view(self):
        data = self.page("small", "view=matrix&layer=2&head=1")
        b, rows = self.b, data.rows(data.view(), 2, 1)
        accent = b.js("return weft.colors.channels(weft.colors.theme.accent)")
        for q, k in ((0, 0), (5, 2), (19, 7), (12, 12)):
            self.away()
            pixel = b.js(PIXEL, *self.place(q, k))
            assert abs(pixel[3] / 255 - rows[q].get(k, 0)) < 0.01, (q, k, pixel)
            if pixel[3] > 60:
                assert max(abs(a - c) for a, c in zip(pixel, accent)) < 6, (pixel, accent)
        self.point(5, 2)
        tip = b.js(TIP)
        rank = 1 + sum(w > rows[5][2] for w in rows[5].values())
        assert "query 5 “ fox” → key 2 “k”" in tip and f"{rows[5][2]:.3f}" in tip, tip
        assert f"rank {rank} of 6" in tip and "Layer 2, head 1" in tip, tip
        self.point(2, 5)
        assert "masked: never seen" in b.js(TIP)
        cell = b.js("return weft.main.panes[0].view.plot.cell")
        b.js("weft.main.panes[0].view.plot.stage.canvas.focus()")
        b.key("+")
        assert b.js("return weft.main.panes[0].view.plot.cell") > cell
        b.key("0")
        assert b.js("return weft.main.panes[0].view.plot.cell") == cell
        b.key("Down")
        b.key("Enter")
        assert self.state("pin") == "q3k5", self.state("pin")
        self.quiet()

    def test_numbers(self):
        """Means, words, pairs, rollout against the data, computed here another way."""
        data = self.page("small", "words=1&mean=1&heads=1.3&layer=mean")
        view = data.view()
        T, words = len(view["tokens"]), view["words"]
        maps = [data.rows(view, layer, head) for layer in range(3) for head in (1, 3)]
        members = [[t for t in range(T) if words[t] == w] for w in range(words[-1] + 1)]
        want = [[sum(m[t].get(j, 0) for m in maps for t in q for j in k) / len(maps) / len(q)
                 for k in members] for q in members]
        got = self.b.js("""const c = weft.main.panes[0].channels[0];
            return [c.rows.groups.map((_, r) => [...c.row(r)]),
                    c.cols.groups.map((_, k) => [...c.column(k)])]""")
        n = len(members)
        assert len(got[0]) == n and all(
            abs(got[0][q][k] - want[q][k]) < 1e-6 and abs(got[1][k][q] - want[q][k]) < 1e-6
            for q in range(n) for k in range(n))
        labels = self.b.js("return weft.main.panes[0].rows.groups.map((g) => g.label)")
        assert labels[1] == " quick" and labels[-1] == " coming.", labels
        self.page("small", "view=matrix&layer=rollout")
        R = [[float(i == j) for j in range(T)] for i in range(T)]
        for layer in range(3):
            heads = [data.rows(view, layer, head) for head in range(4)]
            A = [[0.5 * sum(h[i].get(j, 0) for h in heads) / 4 for j in range(T)] for i in range(T)]
            for i in range(T):
                total = sum(A[i]) * 2
                A[i] = [a / total for a in A[i]]
                A[i][i] += 0.5
            R = [[sum(A[i][m] * R[m][j] for m in range(T)) for j in range(T)] for i in range(T)]
        got = self.b.js("""const c = weft.main.panes[0].channels[0];
            return c.rows.groups.map((_, r) => [...c.row(r)])""")
        assert all(abs(got[i][j] - R[i][j]) < 1e-5 for i in range(T) for j in range(T))
        data = self.page("pair", "pairs=ab&heads=1")
        view, cut = data.view(), data.view()["pair_from"]
        rows = data.rows(view, 0, 1)
        got = self.b.js("""const c = weft.main.panes[0].channels[0];
            return c.rows.groups.map((_, r) => [...c.row(r)])""")
        assert len(got) == cut and len(got[0]) == len(view["tokens"]) - cut
        assert abs(got[2][1] - rows[2][cut + 1]) < 1e-6
        self.quiet()

    def test_generation(self):
        data = self.page("generation")
        tokens, b = data.view()["tokens"], self.b
        b.js("""const box = [...document.querySelectorAll("label")].find((l) =>
            l.innerText.startsWith("Step")).querySelector("input");
            box.value = 3; box.dispatchEvent(new Event("input", {bubbles: true}));""")
        assert self.state("step") == 3
        assert b.js("return weft.main.panes[0].rows.groups.length") == 12
        pin = b.js("return weft.main.panes[0].view.plot.pinned")
        assert pin == {"q": 11, "k": None}, pin
        note = b.js("return document.getElementById('notes').innerText")
        assert f"went on with “{tokens[12]}”" in note, note
        self.look("generation")
        self.quiet()

    def test_two_models(self):
        self.page("two")
        b = self.b
        assert b.js("return document.querySelectorAll('.pane').length") == 2
        # Tokens that end at the same character stand at the same height.
        same = b.js("""const [a, c] = weft.main.panes; let n = 0;
            a.rows.groups.forEach((g, i) => c.rows.groups.forEach((h, j) => {
              if (g.start === h.start && g.end === h.end && g.start >= 0) {
                n++; if (a.layout.y[0][i] !== c.layout.y[0][j]) n = -1000; } })); return n""")
        assert same >= 5, same
        self.point(q=6)
        linked = b.js("return weft.main.panes[1].view.plot.linked")
        text = b.js("""return [weft.main.panes[0].rows.groups[6].label,
                               weft.main.panes[1].rows.groups[arguments[0]].label]""", linked["q"])
        assert text[0].strip() in text[1] or text[1].strip() in text[0], text
        self.point(q=8, clicks=1, pane=1)
        assert self.state("pin").startswith("q")
        table = b.js("return document.getElementById('compare').innerText")
        assert "gpt2-tiny" in table and "Entropy (nats)" in table and "Mean" in table, table
        self.look("two")
        for kind in ("model", "neuron", "matrix"):
            b.js("weft.state.set({view: arguments[0]})", kind)
            time.sleep(0.3)
            self.look(f"two-{kind}")
            self.quiet()

    def test_save(self):
        for name in ("small", "hostile"):
            for kind in driver.KINDS:
                data = self.page(name, f"view={kind}&detail=0.1&open=3&pin=q2")
                if kind == "model":
                    self.b.wait("return weft.main.panes[0].view.plot.image.done >= 2", "heads")
                svg = self.b.js("return weft.save.svg(weft.main.panes[0].view.plot)")
                root = xml.etree.ElementTree.fromstring(svg)
                assert root.tag.endswith("svg") and len(list(root.iter())) > 8, kind
                texts = [e.text for e in root.iter() if e.tag.endswith("text")]
                if kind != "model":
                    assert any("quic" in (t or "") or "script" in (t or "") for t in texts), texts
                png = base64.b64decode(self.b.js(
                    "return weft.save.png(weft.main.panes[0].view.plot)").split(",")[1])
                assert png.startswith(b"\x89PNG") and len(png) > 3000, len(png)
                if self.keep:
                    (self.keep / f"saved-{name}-{kind}.svg").write_text(svg)
                    (self.keep / f"saved-{name}-{kind}.png").write_bytes(png)
                lines = list(csv.DictReader(io.StringIO(self.b.js(
                    "return weft.save.csv(weft.main.panes)"), newline="")))
                view = data.view()
                assert len(lines) > 20 and {l["query"] for l in lines} <= set(view["tokens"])
                head = int(lines[-1]["head"].split()[-1])
                rows = data.rows(view, 0, head)
                for line in lines[-20:]:
                    want = rows[int(line["query_position"])][int(line["key_position"])]
                    assert abs(float(line["weight"]) - want) < 1e-6, line
                self.quiet()

    def test_hostile(self):
        self.page("hostile")
        assert self.b.js("return document.title").startswith("Weft: </script><script>")
        for q in range(len(make_fixture.HOSTILE)):
            self.point(q=q)
            assert f"query {q} “" in self.b.js(TIP), (q, self.b.js(TIP))
        assert not self.b.js("return document.querySelectorAll('#tip b, #tip script, img').length")
        self.look("hostile")
        self.quiet()

    def test_how_it_looks(self):
        """Widths, contrast, names, dark and printed, for pages and views that differ most."""
        for name in ("small", "two", "long", "texts"):
            for kind in driver.KINDS:
                for dark in (False, True):
                    self.b.dark(dark)
                    for width in (1280, 2560):
                        self.b.window(width, 1000 if width < 2000 else 1300)
                        self.page(name, f"view={kind}&open=5&detail=1.1&pin=q5")
                        driver.check_look(self.b, dark, width)
                        if self.keep and not (name == "texts" and width > 2000):
                            time.sleep(0.6)
                            self.look(f"{name}-{kind}-{'dark' if dark else 'light'}-{width}")
            self.quiet()
        self.b.dark(False)
        self.b.window(1280, 900)

    def test_print(self):
        for dark in (False, True):
            self.b.dark(dark)
            self.page("small", "pin=q5")
            pdf = base64.b64decode(self.b.cdp("Page.printToPDF", printBackground=True)["data"])
            assert pdf.startswith(b"%PDF") and len(pdf) > 15000, len(pdf)
            if self.keep:
                (self.keep / f"printed-{'dark' if dark else 'light'}.pdf").write_bytes(pdf)
            self.b.js("dispatchEvent(new Event('beforeprint'))")
            assert self.b.js("return weft.colors.theme.paper") == "#ffffff"
            self.b.js("dispatchEvent(new Event('afterprint'))")
            assert (self.b.js("return weft.colors.theme.paper") == "#ffffff") != dark
            self.b.cdp("Emulation.setEmulatedMedia", media="print")
            assert not self.b.js("return document.getElementById('controls').checkVisibility()")
            self.b.cdp("Emulation.setEmulatedMedia", media="")
        self.b.dark(False)

    def test_speed(self):
        """512 tokens, 12 x 12, and 4,096 tokens of a head: measured in the page."""
        for name, kinds in (("long", driver.KINDS), ("huge", ("head", "matrix"))):
            for kind in kinds:
                for state in (("", "&words=1", "&layer=mean") if kind == "head" and name == "long"
                              else ("",)):
                    if kind == "model":
                        state = "&detail=3.5"
                    elif kind == "neuron":
                        continue  # vectors of long texts are left out
                    ready = self.ready(name, f"view={kind}{state}")
                    assert ready < 1000, (name, kind, ready)
                    if kind == "model":
                        self.b.wait("return weft.main.panes[0].view.plot.image.done === 144",
                                    "thumbnails", 30)
                    note = self.b.js("return document.getElementById('notes').innerText")
                    assert "The 16 largest weights of each row are kept" in note, note
                    found = self.b.js(MOVES, "detail" if kind == "model" else "plot")
                    print(f"{name} {kind}{state}: ready {ready:.0f} ms after the page's start; a"
                          f" move took {found['p95']:.1f} ms at the 95th percentile of {found['n']}"
                          f" (the longest {found['most']:.1f}; in the first pass"
                          f" {found['first']:.1f})")
                    assert found["p95"] < 16, found
                    # Scrolled to its end, it draws what is there.
                    self.b.js("""const s = weft.main.panes[0].view.plot.stage;
                        s.box.scrollTo(s.room.offsetWidth, s.room.offsetHeight)""")
                    time.sleep(0.2)
                    assert self.b.js(INK) > 3000
                    self.look(f"{name}-{kind}-end")
                    self.quiet()

    def test_size(self):
        text = driver.template()
        size = len(text.encode())
        print(f"the page itself: {size} bytes")
        assert size < 110_000, size
        assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|\bsrc=|<link|@import", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--template", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    browser.leave_the_network()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with browser.Browser() as b, tempfile.TemporaryDirectory(prefix="weft_page_") as temporary:
        b.window(1280, 900)
        if args.page:
            return driver.check_page(b, args.page.resolve(), args.keep)
        folder = pathlib.Path(temporary)
        text = args.template.read_text() if args.template else driver.template()
        for name, make in make_fixture.ALL.items():
            (folder / f"{name}.html").write_text(make().html(text))
        tests, failed = Tests(b, folder, args.keep), []
        for name in args.tests or [n for n in dir(tests) if n.startswith("test_")]:
            try:
                getattr(tests, name)()
                print(f"{name}: passed", flush=True)
            except AssertionError:
                traceback.print_exc()
                failed.append(name)
        assert not failed, failed


if __name__ == "__main__":
    main()
