#!/usr/bin/env python3
"""Pages that weft itself writes, in a browser without a network: attention of a text, of a pair of
models, of a generation on a grid, and the maps of tokens and texts.
  weft_pages.py WEFT SOURCE LAUNCHER… [--keep FOLDER]"""
import pathlib
import subprocess
import sys
import tempfile

import browser
import driver


def make_pages(weft, source, launcher, folder):
    data = source / "tests/data/tokenizer"
    one = lambda *words: subprocess.run([weft, *words], cwd=folder, check=True, capture_output=True)
    many = lambda n, *words: subprocess.run([*launcher, str(n), weft, *words], cwd=folder,
                                            check=True, capture_output=True)
    one("data", data / "corpus.txt", "--tokenizer", data, "--out", "d.h5")
    for name, layers, heads in (("small", 2, 2), ("large", 3, 4)):
        one("train", "--family", "gpt2", "--layers", str(layers), "--width", "32", "--heads",
            str(heads), "--context", "64", "--batch-size", "4", "--steps", "30", "--lr", "1e-2",
            "--warmup-steps", "2", "--data", "d.h5", "--out", name)
    model = ("--model", "small/model")
    texts = ("--text", "the cat that they made was on some café", "--text", "a dog")
    one("attention", *model, *texts, "--out", "text.html")
    one("attention", *model, "--text", "the cat", "--text-pair", "a </script> dog", "--out",
        "pair.html")
    one("attention", *model, "--compare", "large/model", *texts, "--out", "compare.html")
    many(4, "generate", *model, "--tp", "2", "--dp", "2", "--threads", "1", "--prompt", "the cat",
         "--max-new-tokens", "6", "--num-return-sequences", "2", "--do-sample", "--attention",
         "generation.html")
    one("neighbors", *model, " the", "a", "--plot", "tokens-map.html")
    one("embed", *model, "--in", data / "corpus.txt", "--plot", "texts-map.html", "--out", "e.h5")
    one("tokenize", *model, *texts, "--html", "tokens.html")


def check_map(b, page, keep):
    b.window(1280, 900)
    for dark in (False, True):
        b.dark(dark)
        b.open(page)
        driver.check_look(b, dark, 1280)
        if keep:
            b.picture(keep / f"{page.stem}-{'dark' if dark else 'light'}.png")
    dots = b.js("return weft.points.map((p) => [p.x, p.y])")
    assert len(dots) > 2 and len({tuple(dot) for dot in dots}) > 2, dots
    b.js("document.getElementById('map').focus()")
    b.key("Right")
    told = b.js("return document.getElementById('live').textContent")
    assert told and told == b.js("return document.getElementById('tip').textContent"), told
    b.key("Escape")
    assert b.js("return document.getElementById('tip').hidden")
    label = b.js("return weft.points[0].label")
    b.js("const f = document.getElementById('find'); f.value = arguments[0];"
         "f.dispatchEvent(new Event('input'))", label)
    assert b.js("return weft.plot.shown.found.has(0)")
    assert len(b.js("return weft.csv()").splitlines()) >= len(dots) + 1
    ink = b.js("const c = document.getElementById('map'); const d = c.getContext('2d')"
               ".getImageData(0, 0, c.width, c.height).data;"
               "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n")
    assert ink > 100, ink
    assert not b.said()


def check_tokens(b, page):
    b.open(page)
    spans = b.js("return [...document.querySelectorAll('.tokens')].map((e) => e.textContent)")
    assert spans == ["the cat that they made was on some café", "a dog"], spans
    assert b.js("return getComputedStyle(document.querySelector('.tokens span')).backgroundColor") \
        != "rgba(0, 0, 0, 0)"
    assert not b.said()


def main():
    args = sys.argv[1:]
    keep = None
    if "--keep" in args:
        at = args.index("--keep")
        keep = pathlib.Path(args[at + 1])
        keep.mkdir(parents=True, exist_ok=True)
        del args[at:at + 2]
    weft, source, launcher = args[0], pathlib.Path(args[1]), args[2:]
    browser.leave_the_network()
    with tempfile.TemporaryDirectory(prefix="weft_pages_") as folder:
        folder = pathlib.Path(folder)
        make_pages(weft, source, launcher, folder)
        with browser.Browser() as b:
            b.window(1280, 900)
            for name in ("text", "pair", "compare", "generation"):
                driver.check_page(b, folder / f"{name}.html", keep)
            for name in ("tokens-map", "texts-map"):
                check_map(b, folder / f"{name}.html", keep)
            check_tokens(b, folder / "tokens.html")


if __name__ == "__main__":
    main()
