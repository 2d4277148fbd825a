#!/usr/bin/env python3
"""Golden values of the byte-level BPE tokenizer and its trainer from Hugging Face tokenizers, for
tests/text.

    python tests/data/make_tokenizer.py tests/data/tokenizer
The training text is the C locale's own prose: generated sentences, so that nothing copyrighted is
kept.
"""
import json
import os
import random
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = (
    "the of and to in is that it was for on are as with his they at be this from have or by one "
    "had not but what all were when we there can an your "
    "which their said if do will each about how up out them then she many some so these would "
    "other into has more her two like him see time could no "
    "make than first been its who now people my made over did down only way find use may water "
    "long little very after words called just where most know "
    "don't I'm you're we've they'll he'd it's naïve Größe café 東京 москва ελλάδα 123 4567 3.14 "
    "(x+y) == {z}; x[i] <= 10% a_b \t\t // end").split(" ")

HOSTILE = [
    "", " ", "  ", "\n", "a", " a", "a ", "  a  b   c", "\n\nfoo", "\n\n  foo\t bar\r\n",
    "don't I'll we've you're I'm he'd it's 's '", "'S 'T DON'T", "x=1+2;  y=3.14", "<|endoftext|>",
    "a<|endoftext|>b<|endoftext|>", "<|endoftext|", "日本語のテキスト",
    "Ελληνικά кириллица עברית العربية हिन्दी", "👩‍👩‍👧‍👦 emoji 🎉🎉", "é vs é",
    "\u00a0nbsp\u2003em\u3000wide", "\u200bzero\u200d", "\x00\x01\x02", "½ ² Ⅷ ٣",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "the" * 200, " " * 100 + "x", "\t" * 9, "a\u0301\u0302",
    "\U0001f1e9\U0001f1ea", "\u180e mongolian", "\x85next\x1cline", "ﬁ ligature Ǆ"
]


def corpus(rng):
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 40))) for _ in range(600)]


def main(out):
    os.makedirs(out, exist_ok=True)
    rng = random.Random(7)
    texts = corpus(rng)
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600,
                                  min_frequency=2,
                                  show_progress=False,
                                  special_tokens=["<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(texts, trainer)
    tok.save(os.path.join(out, "tokenizer.json"))
    with open(os.path.join(out, "corpus.txt"), "w") as f:
        f.write("\n".join(texts) + "\n")
    cases = list(HOSTILE)
    pool = WORDS + HOSTILE + [" ", "  ", "\n", "'", "\u00a0", "\u3000"]
    for _ in range(300):
        cases.append("".join(rng.choices(pool, k=rng.randint(1, 8))))
    for _ in range(100):
        cases.append("".join(
            chr(
                rng.choice([
                    rng.randint(1, 0x2FF),
                    rng.randint(0x300, 0xD7FF),
                    rng.randint(0xE000, 0x1FFFF)
                ])) for _ in range(rng.randint(1, 12))))
    with open(os.path.join(out, "golden.json"), "w") as f:
        json.dump(
            {
                "tokenizers": tokenizers.__version__,
                "cases": [[t, tok.encode(t).ids] for t in cases]
            }, f)


if __name__ == "__main__":
    main(sys.argv[1])
