#!/usr/bin/env python3
"""Merges that Hugging Face's byte-level BPE trainer learns from small corpora, degenerate ones
among them, for tests/text.

    python tests/data/make_merges.py tests/data/merges.json
Made with tokenizers 0.23.3. A corpus is given as its texts; the vocabulary and the special tokens
beside it.
"""
import json
import random
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers


def learn(name, texts, vocab_size, special_tokens=("<|endoftext|>",)):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=vocab_size,
                            min_frequency=2,
                            show_progress=False,
                            special_tokens=list(special_tokens),
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tok.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {
        "name": name, "texts": texts, "vocab_size": vocab_size,
        "special_tokens": list(special_tokens), "merges": merges, "tokens": len(model["vocab"])
    }


def main(out):
    rng = random.Random(11)
    chinese = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
    corpora = [
        learn("one letter", ["x"], 300),
        learn("nothing twice", ["abcdefg"], 300),
        learn("one pair", ["ab", "ab"], 300),
        learn("runs of one letter", ["a" * n for n in range(1, 60)], 300),
        learn("runs of a pair", ["ab" * n for n in range(1, 40)] + ["aab" * 9, "abc" * 7], 400),
        learn("runs of spaces", [" " * n + "x" for n in range(1, 60)], 300),
        learn("no room for merges", ["the cat sat on the mat"] * 3, 257),
        learn("special tokens that the merges spell", ["the other then that other <pad> the"] * 3,
              300, ("<|endoftext|>", "<pad>", "the")),
        learn("chinese", ["".join(rng.choices(chinese, k=rng.randint(2, 12))) for _ in range(60)],
              420),
        learn("code", [
            "for (int i = 0; i < n; ++i) x[i] += y[i];", "if (x == y) { return x; }",
            "\treturn -1;  // none", "for (auto& x : y) {"
        ] * 2, 1000),
    ]
    for k in range(10):  # few letters, so that many pairs tie and overlap
        corpora.append(
            learn(f"ties {k}",
                  ["".join(rng.choices("ab c", k=rng.randint(1, 30))) for _ in range(30)],
                  265 + 20 * k))
    json.dump({"tokenizers": tokenizers.__version__, "corpora": corpora},
              open(out, "w", encoding="utf-8"),
              ensure_ascii=False)


if __name__ == "__main__":
    main(sys.argv[1])
