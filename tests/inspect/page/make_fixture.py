#!/usr/bin/env python3
"""Writes pages of made-up attention, by the contract that `weft attention` writes by, to try the
page without a model:
  make_fixture.py TEMPLATE.html FOLDER [NAME ...]
"""
import array
import base64
import json
import math
import pathlib
import random
import struct
import sys

TEXT = "The quick brown fox jumps over the lazy dog, which had not seen it coming."
HOSTILE = ["</script><b>", '"quoted"', "'a'", " \U0001F600", " \u05e9\u05dc\u05d5\u05dd",
           " \u0645\u0631\u062d\u0628\u0627", "<!--", "&amp;", "\n", "\t", "   ", "\u202eabc",
           "\u0000", "`${x}`", " \\u003c", "=1+1", "a" * 60, ""]


def u16(values):
    out = array.array("H", values)
    if sys.byteorder == "big":
        out.byteswap()
    return base64.b64encode(out.tobytes()).decode()


def half(values):
    return base64.b64encode(struct.pack(f"<{len(values)}e", *values)).decode()


def softmax_row(scores):
    top = max(scores)
    parts = [math.exp(s - top) for s in scores]
    total = sum(parts)
    return [p / total for p in parts]


def split(text, pieces):
    """Tokens of a text with offsets and words: words cut after `pieces` characters."""
    tokens, offsets, words, at = [], [], [], 0
    for index, word in enumerate(text.split(" ")):
        start = at
        spelled = (" " if index else "") + word
        cut = pieces + (1 if index else 0)
        for begin in range(0, len(spelled), cut):
            part = spelled[begin:begin + cut]
            tokens.append(part)
            offsets.append([start + begin, start + begin + len(part)])
            words.append(index)
        at += len(spelled)
    return tokens, offsets, words


class Page:
    """Collects models, texts and blobs; seen(i, j) says what the mask lets through."""

    def __init__(self, title):
        self.header = {"format": 1, "title": title, "made_by": "weft 0.1.0 (0123456789ab)",
                       "command": "weft attention --model gpt2 --text \"…\" --out view.html",
                       "models": [], "texts": []}
        self.blobs = []
        self.random = random.Random(18)

    def model(self, name, layers, heads, kv_heads=None, head_dim=16, causal=True, family="gpt2"):
        self.header["models"].append({
            "name": name, "family": family, "layers": layers, "heads": heads,
            "kv_heads": kv_heads or heads, "head_dim": head_dim, "causal": causal,
            "shown_layers": list(range(layers)), "shown_heads": list(range(heads))})

    def text(self, name, text):
        self.header["texts"].append({"name": name, "text": text, "views": []})

    def blob(self, encoded):
        self.blobs.append(encoded)
        return f"b{len(self.blobs) - 1}"

    def view(self, tokens, offsets, words, k=0, vectors=True, pair_from=None, prompt=None,
             windows=None, softcap=0):
        model = self.header["models"][len(self.header["texts"][-1]["views"])]
        L, H, D, T = model["layers"], model["heads"], model["head_dim"], len(tokens)
        n_kv = model["kv_heads"]
        windows = windows or [0] * L
        scale = 1 / math.sqrt(D)
        entropy, first, distance, maps, packed = [], [], [], [], []
        for layer in range(L):
            # few dimensions of numbers, so that long texts are made in time
            small = 4
            draw = lambda n: [[self.random.gauss(0, 1.6) for _ in range(small)] for _ in range(n)]
            q = [draw(T) for _ in range(H)]
            keys = [draw(T) for _ in range(n_kv)]
            index, weight, rest, dense = [], [], [], []
            stats = [[0.0] * H for _ in range(3)]
            for head in range(H):
                key = keys[head * n_kv // H]
                for i in range(T):
                    low = max(0, i - windows[layer] + 1) if windows[layer] else 0
                    high = i + 1 if model["causal"] else (
                        min(T, i + windows[layer]) if windows[layer] else T)
                    scores = []
                    for j in range(low, high):
                        x = sum(a * b for a, b in zip(q[head][i], key[j])) * scale
                        x = softcap * math.tanh(x / softcap) if softcap else x
                        scores.append(x)
                    if not vectors:  # heads that do something to look at
                        for j in range(low, high):
                            scores[j - low] *= 1.5
                            if head % 4 == 1 and j == i - 1:
                                scores[j - low] += 7
                            if head % 4 == 2 and j == 0:
                                scores[j - low] += 7
                    row = softmax_row(scores)
                    for j, w in enumerate(row, low):
                        stats[0][head] -= w * math.log(w) / T if w > 0 else 0
                        stats[1][head] += w / T if j == 0 else 0
                        stats[2][head] += w * abs(i - j) / T
                    units = [round(w * 65535) for w in row]
                    if k:
                        order = sorted(range(len(row)), key=lambda j: -units[j])[:k]
                        index += [low + j for j in order] + [65535] * (k - len(order))
                        weight += [units[j] for j in order] + [0] * (k - len(order))
                        rest.append(max(0, round(65535 * (1 - sum(row[j] for j in order)))))
                    else:
                        dense += [0] * low + units + [0] * (T - high)
            for into, values in zip((entropy, first, distance), stats):
                into.append([round(v, 4) for v in values])
            maps.append(self.blob(u16(index + weight + rest if k else dense)))
            if vectors:
                pad = [0.0] * (D - small)
                flat = []
                for t in range(T):
                    for head in range(H):
                        flat += q[head][t] + pad
                for t in range(T):
                    for head in range(n_kv):
                        flat += keys[head][t] + pad
                packed.append(self.blob(half(flat)))
        self.header["texts"][-1]["views"].append({
            "tokens": tokens, "ids": list(range(T)), "offsets": offsets, "words": words,
            "pair_from": pair_from, "prompt_tokens": prompt, "scale": [scale] * L,
            "windows": windows, "softcap": softcap, "entropy": entropy, "first_share": first,
            "distance": distance, "maps": {"k": k, "blobs": maps},
            "vectors": {"blobs": packed, "kv_of": [h * n_kv // H for h in range(H)],
                        "n_kv": n_kv} if vectors else
                       {"missing": "they were left out to keep a long text's page small."}})

    def html(self, template):
        header = json.dumps(self.header, ensure_ascii=False).replace("</", "<\\/")
        parts = [f'<script id="weft" type="application/json">{header}</script>']
        parts += [f'<script id="b{i}" type="application/octet-stream">{b}</script>'
                  for i, b in enumerate(self.blobs)]
        assert template.count("<!--data-->") == 1
        return template.replace("<!--data-->", "\n".join(parts))


def small():
    page = Page("gpt2-tiny on a fox")
    page.model("gpt2-tiny", 3, 4)
    page.text("1", TEXT)
    page.view(*split(TEXT, 4))
    return page


def pair():
    page = Page("bert-tiny on two sentences")
    page.model("bert-tiny", 2, 2, causal=False, family="bert")
    a, b = "The cat sat there.", "It was a mat."
    tokens, offsets, words = split(a, 9)
    second = split(b, 9)
    cut = len(tokens) + 2
    tokens = ["[CLS]"] + tokens + ["[SEP]"] + second[0] + ["[SEP]"]
    shift = len(a) + 1
    offsets = ([[-1, -1]] + offsets + [[-1, -1]] + [[s + shift, e + shift] for s, e in second[1]] +
               [[-1, -1]])
    n = words[-1] + 2
    words = [0] + [w + 1 for w in words] + [n] + [w + n + 1 for w in second[2]]
    words.append(words[-1] + 1)
    page.text("1", a + "\n" + b)
    page.view(tokens, offsets, words, pair_from=cut)
    return page


def two():
    page = Page("gpt2-tiny and gpt2-small")
    page.model("gpt2-tiny", 2, 3)
    page.model("gpt2-small", 4, 12)
    page.text("1", TEXT)
    page.view(*split(TEXT, 3))
    tokens, offsets, words = split(TEXT, 5)
    page.view(["<s>"] + tokens, [[-1, -1]] + offsets, [0] + [w + 1 for w in words], vectors=False)
    return page


def sparse(page, T, k, maps):
    """Blobs of rows that look at token 0, themselves, their neighbour and some others."""
    blobs = []
    for kind in range(maps):
        index, weight, rest = [], [], []
        for i in range(T):
            others = [int((i + 1) * x) for x in (page.random.random() for _ in range(k))]
            keys = list(dict.fromkeys([0, i, max(0, i - 1 - kind % 3)] + others))[:k]
            first = [3.0 * (kind % 4 == 2), 2.0, 5.0 * (kind % 4 == 1)]
            parts = softmax_row([*first, *[0.5] * k][:len(keys)])
            order = sorted(range(len(keys)), key=lambda e: -parts[e])
            index += [keys[e] for e in order] + [65535] * (k - len(keys))
            weight += [round(parts[e] * 60000) for e in order] + [0] * (k - len(keys))
            rest.append(5535)
        blobs.append((index, weight, rest))
    return blobs


def sparse_view(page, tokens, offsets, words, k, layers, heads):
    blobs, T = [], len(tokens)
    for _ in range(layers):
        parts = sparse(page, T, k, heads)
        blobs.append(page.blob(u16(sum((p[0] for p in parts), []) + sum((p[1] for p in parts), []) +
                                   sum((p[2] for p in parts), []))))
    stat = lambda low, high: [[round(page.random.uniform(low, high), 4) for _ in range(heads)]
                              for _ in range(layers)]
    page.header["texts"][0]["views"].append({
        "tokens": tokens, "ids": list(range(T)), "offsets": offsets, "words": words,
        "pair_from": None, "prompt_tokens": None, "scale": [0.125] * layers,
        "windows": [0] * layers, "softcap": 0, "entropy": stat(0.5, 4),
        "first_share": stat(0, 0.9), "distance": stat(1, 200), "maps": {"k": k, "blobs": blobs},
        "vectors": {"missing": "they were left out to keep a long text's page small."}})


def long():
    page = Page("512 tokens, 12 layers, 12 heads")
    page.model("gpt2", 12, 12, head_dim=64)
    text = " ".join(f"{word}{i % 7}" for i in range(40) for word in TEXT.split(" "))
    page.text("1", text)
    sparse_view(page, *(part[:512] for part in split(text, 8)), 16, 12, 12)
    return page


def huge():
    page = Page("4,096 tokens of one head")
    page.model("llama", 32, 32, head_dim=64, family="llama")
    model = page.header["models"][0]
    model["shown_layers"], model["shown_heads"] = [7], [3]
    T = 4096
    page.text("1", "w" * T)
    sparse_view(page, [f" w{i}" for i in range(T)], [[i, i + 1] for i in range(T)],
                list(range(T)), 16, 1, 1)
    return page


def generation():
    page = Page("gpt2-tiny goes on")
    page.model("gpt2-tiny", 2, 4)
    page.text("1", TEXT)
    page.view(*split(TEXT, 4), prompt=10)
    return page


def gemma():
    page = Page("gemma-tiny: shared keys, a soft cap, a window")
    page.model("gemma-tiny", 4, 4, kv_heads=2, family="gemma2", head_dim=32)
    page.text("1", TEXT)
    page.view(*split(TEXT, 4), windows=[6, 0, 6, 0], softcap=50.0)
    return page


def texts():
    page = Page("several texts")
    page.model("gpt2-tiny", 2, 16)
    for name, text in (("first", TEXT), ("second", "Another text, shorter."), ("one", "Word")):
        page.text(name, text)
        page.view(*split(text, 5), vectors=name == "first")
    return page


def hostile():
    page = Page('</script><script>document.title="taken"</script> & "quotes"')
    page.model("<img src=x onerror=alert(1)>", 1, 2)
    offsets, at = [], 0
    for token in HOSTILE:
        offsets.append([at, at + len(token)])
        at += len(token)
    page.text("</option><b>", "".join(HOSTILE))
    page.view(HOSTILE, offsets, list(range(len(HOSTILE))))
    return page


ALL = {"small": small, "pair": pair, "two": two, "long": long, "huge": huge,
       "generation": generation, "gemma": gemma, "texts": texts, "hostile": hostile}


def make(template, folder, names=()):
    template = pathlib.Path(template).read_text()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ALL:
        (folder / f"{name}.html").write_text(ALL[name]().html(template))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    make(sys.argv[1], sys.argv[2], sys.argv[3:])
