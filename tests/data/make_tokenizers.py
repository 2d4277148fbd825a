#!/usr/bin/env python3
"""Small whole tokenizers in the shapes of the well-known ones and what the reference makes of
hostile texts with them, for tests/text.

    python tests/data/make_tokenizers.py tests/data/tokenizers
texts.json: the texts. NAME/tokenizer.json, and NAME/golden.json: for each text the ids, the offsets
in characters (from the end of the token before, then the length), the decoded text where it is not
the text itself, and the same without special tokens; "pairs" of two texts by number. esm/vocab.txt
is EsmTokenizer's. WordPiece's trainer breaks ties by chance, so that bert_* come out otherwise each
time. Made with tokenizers 0.23.3, sentencepiece 0.2.3, transformers 5.24.
"""
import json
import os
import random
import sys

import tokenizers
from hostile_texts import PIECES, PROSE, SPACES, hostile_text
from make_tokenizer import corpus
from tokenizer_shapes import SHAPES, t5, xlmr

VOCAB = {"bert_uncased": 500, "bert_cased": 500, "wordlevel": 150, "t5": 220, "xlmr": 480}
N_TEXTS = 150
ESM = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]


def training_texts(rng):
    return corpus(rng) + [p for p in PROSE for _ in range(3)]


def flat(offsets):
    out, end = [], 0
    for begin, stop in offsets:
        out += [begin - end, stop - begin]
        end = stop
    return out


def put(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def golden_of(encode, decode, texts, n_pairs):
    """encode(text, pair, special) gives ids, offsets (or None) and type ids (or None)."""
    cases, bare, pairs = [], [], []
    for text in texts:
        ids, offsets, _ = encode(text, None, True)
        decoded = decode(ids, False)
        cases.append(
            [ids, flat(offsets) if offsets else None, None if decoded == text else decoded])
        ids, _, _ = encode(text, None, False)
        decoded = decode(ids, True)
        bare.append([len(ids), None if decoded == text else decoded])
    for i in range(n_pairs):
        first, second = 7 * i % len(texts), (11 * i + 3) % len(texts)
        ids, offsets, types = encode(texts[first], texts[second], True)
        pairs.append([first, second, ids, flat(offsets), types])
    return {
        "tokenizers": tokenizers.__version__, "cases": cases, "without_special": bare,
        "pairs": pairs
    }


def of_tokenizers(tok, texts):

    def encode(text, pair, special):
        e = tok.encode(text, pair, add_special_tokens=special)
        return e.ids, e.offsets, e.type_ids

    return golden_of(encode, lambda ids, skip: tok.decode(ids, skip_special_tokens=skip), texts, 12)


def of_esm(folder, texts):
    import transformers
    tok = transformers.EsmTokenizer.from_pretrained(folder)
    return golden_of(
        lambda text, _, special: (tok(text, add_special_tokens=special)["input_ids"], None, None),
        lambda ids, skip: tok.decode(ids, skip_special_tokens=skip), texts, 0)


def main(out):
    rng = random.Random(11)
    training = training_texts(rng)
    made = {}
    for name, make in SHAPES.items():
        small = {
            "t5": lambda texts, n: t5(texts, n, "small"),
            "xlmr": lambda texts, n: xlmr(texts, n, "small")
        }.get(name, make)
        made[name] = small(training, VOCAB.get(name, 400))
    added = sorted(
        {t.content for tok in made.values() for t in tok.get_added_tokens_decoder().values()} |
        set(ESM[:4] + ESM[-2:]))
    texts = [*PROSE, "", " ", "the" * 40, " " * 70 + "x", "\t" * 9, "a" * 60, "é" * 40]
    texts += ["".join(rng.choices(PIECES + SPACES, k=4)) for _ in range(30)]
    texts += [f"wor{t}d {t} {t.upper()}{t}" for t in added]
    while len(texts) < N_TEXTS:
        text = hostile_text(rng, added)
        if len(text) <= 60:
            texts.append(text)
    os.makedirs(out, exist_ok=True)
    put(os.path.join(out, "texts.json"), texts)
    for name, tok in made.items():
        os.makedirs(os.path.join(out, name), exist_ok=True)
        put(os.path.join(out, name, "tokenizer.json"), json.loads(tok.to_str()))
        put(os.path.join(out, name, "golden.json"), of_tokenizers(tok, texts))
    folder = os.path.join(out, "esm")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "vocab.txt"), "w") as f:
        f.write("\n".join(ESM))
    put(os.path.join(folder, "golden.json"), of_esm(folder, texts))


if __name__ == "__main__":
    main(sys.argv[1])
