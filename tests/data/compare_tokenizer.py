#!/usr/bin/env python3
"""Compares `weft tokenize --json` with a reference over many texts: ids, tokens, offsets, type ids,
decoded text; says every difference.

    python tests/data/compare_tokenizer.py build/weft TOKENIZER [FILE|FOLDER...] [--texts 50000]
        [--seed 1] [--class EsmTokenizer] [--make llama3 --vocab-size 8000]

TOKENIZER is a folder with tokenizer.json (the reference is then the `tokenizers` package), with
what a class of transformers reads (--class: vocab.txt for BertTokenizer and EsmTokenizer,
vocab.json and merges.txt for GPT2Tokenizer, RobertaTokenizer, Qwen2Tokenizer, tokenizer.model for
LlamaTokenizer), or with tokenizer.model alone (--class sentencepiece); or it is the GGUF file of a
SmolLM, read with the gguf package. --make first trains one of tokenizer_shapes.py's there. FILEs,
and 500 files of each FOLDER, are what pieces of text are cut from: manual pages in many languages
(Debian manpages-ja, -zh, -ru, -fr, -de: /usr/share/man/ja ...), sources. The other half is hostile:
every assigned code point of Unicode, white space, control characters, emoji, long runs, random
Unicode, added tokens inside words. Needs tokenizers 0.23; transformers 5.24 or sentencepiece 0.2
where asked for.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from hostile_texts import make_texts, read_files
from tokenizer_shapes import SHAPES


def gpt2_of_files(path):
    """vocab.json and merges.txt as GPT-2's own code reads them, tokenizer_config.json's added
    tokens with them."""
    config = {}
    if os.path.exists(os.path.join(path, "tokenizer_config.json")):
        config = json.load(open(os.path.join(path, "tokenizer_config.json")))
    tok = Tokenizer(
        models.BPE.from_file(os.path.join(path, "vocab.json"), os.path.join(path, "merges.txt")))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=config.get("add_prefix_space", False))
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.decoder = decoders.ByteLevel()
    added = [
        AddedToken(t["content"], special=t["special"], normalized=t["normalized"])
        for t in config.get("added_tokens_decoder", {}).values()
    ]
    tok.add_tokens([t for t in added if not t.special])
    tok.add_special_tokens([t for t in added if t.special] or ["<|endoftext|>"])
    return tok


def smollm_of_gguf(path):
    """What transformers' SmolLM tokenizer.json says, with the file's vocabulary."""
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens, kinds, merges = (
        fields["tokenizer.ggml." + name].contents() for name in ("tokens", "token_type", "merges"))
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    tok = Tokenizer(
        models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)
    ])
    tok.decoder = decoders.ByteLevel()
    # control tokens
    tok.add_special_tokens([
        AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3
    ])
    return tok


def spelled(spelling, added, ids):
    """As the file has them: the package's own tokens are the text itself for unknown ones, with its
    white space or normalized for added ones."""
    return [added[i].content if i in added else spelling(i) for i in ids]


class FromTokenizers:

    def __init__(self, tok):
        self.tok, self.by_id = tok, tok.get_added_tokens_decoder()
        self.added = [t.content for t in self.by_id.values()]

    def encode(self, texts, special):
        encodings = self.tok.encode_batch(texts, add_special_tokens=special)
        return [{
            "ids": e.ids, "tokens": spelled(self.tok.id_to_token, self.by_id, e.ids),
            "offsets": [list(o) for o in e.offsets], "type_ids": e.type_ids
        } for e in encodings]

    def decode(self, ids, skip):
        return self.tok.decode(ids, skip_special_tokens=skip)


class FromTransformers:

    def __init__(self, name, path):
        import transformers
        self.tok = getattr(transformers, name).from_pretrained(path)
        self.by_id = self.tok.added_tokens_decoder
        self.added = [t.content for t in self.by_id.values()]

    def encode(self, texts, special):
        batch = self.tok(texts, add_special_tokens=special)
        if not self.tok.is_fast:
            return [{"ids": ids, "tokens": self.tok.convert_ids_to_tokens(ids)}
                    for ids in batch["input_ids"]]
        spell = self.tok.convert_ids_to_tokens
        return [{
            "ids": e.ids, "tokens": spelled(spell, self.by_id, e.ids),
            "offsets": [list(o) for o in e.offsets], "type_ids": e.type_ids
        } for e in batch.encodings]

    def decode(self, ids, skip):
        return self.tok.decode(ids, skip_special_tokens=skip)


class FromSentencePiece:
    """Knows no special token in a text; those that begin one are Llama's."""
    added = []

    def __init__(self, path):
        import sentencepiece
        self.tok = sentencepiece.SentencePieceProcessor(
            model_file=os.path.join(path, "tokenizer.model"))
        self.control = [
            self.tok.id_to_piece(i)
            for i in range(len(self.tok))
            if self.tok.is_control(i) or self.tok.is_unknown(i)
        ]

    def encode(self, texts, special):
        return [{"ids": ids} for ids in self.tok.encode(texts, add_bos=special)]

    def decode(self, ids, skip):
        # SentencePiece itself never shows control tokens
        return self.tok.decode(ids) if skip else None


def reference_of(args):
    if args.cls == "sentencepiece":
        return FromSentencePiece(args.tokenizer)
    if args.cls:
        return FromTransformers(args.cls, args.tokenizer)
    if args.tokenizer.endswith(".gguf"):
        return FromTokenizers(smollm_of_gguf(args.tokenizer))
    file = os.path.join(args.tokenizer, "tokenizer.json")
    tokenizer = Tokenizer.from_file(file) if os.path.exists(file) else gpt2_of_files(args.tokenizer)
    # transformers pads and truncates where a call asks for it, whatever the file says
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return FromTokenizers(tokenizer)


def rows_of_weft(args, texts, special):
    """One after another: many rows take gigabytes in Python."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as f:
        f.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        f.flush()
        command = [args.weft, "tokenize", "--tokenizer", args.tokenizer, "--in", f.name, "--json"
                  ] + ["--no-special-tokens"] * (not special)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
            yield from map(json.loads, run.stdout)
        assert run.returncode == 0, command


def rows_of_reference(reference, texts, special):
    for at in range(0, len(texts), 1000):
        for row in reference.encode(texts[at:at + 1000], special):
            yield {**row, "decoded": reference.decode(row["ids"], not special)}


class Differences:

    def __init__(self):
        self.counts = {}

    def compare(self, key, text, mine, reference):
        self.counts.setdefault(key, 0)
        if mine == reference:
            return
        self.counts[key] += 1
        if self.counts[key] <= 3:
            at = next((i for i, (a, b) in enumerate(zip(mine, reference)) if a != b),
                      min(len(mine), len(reference)))
            print(f"{key} of {text[:100]!r}, at {at}:\n  weft      "
                  f"{mine[max(at - 3, 0):at + 12]!r}\n  reference "
                  f"{reference[max(at - 3, 0):at + 12]!r}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("tokenizer")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--texts", type=int, default=50000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--class", dest="cls", help="a class of transformers, or sentencepiece")
    parser.add_argument("--make", choices=SHAPES)
    parser.add_argument("--vocab-size", type=int, default=8000)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    contents = read_files(args.files, rng)
    if args.make:
        os.makedirs(args.tokenizer, exist_ok=True)
        SHAPES[args.make]([c[:4000] for c in contents],
                          args.vocab_size).save(os.path.join(args.tokenizer, "tokenizer.json"))
    reference = reference_of(args)
    added = reference.added if len(reference.added) <= 64 else rng.sample(reference.added, 64)
    texts = make_texts(contents, args.texts, rng, added)
    if args.cls == "sentencepiece":
        texts = [t for t in texts if "\0" not in t and not any(c in t for c in reference.control)]
    differences, n_tokens = Differences(), 0
    # the second time special tokens are left out of the decoded text too
    for special in (True, False):
        where = "" if special else ", without special tokens"
        for text, row, expected in zip(texts,
                                       rows_of_weft(args, texts, special),
                                       rows_of_reference(reference, texts, special),
                                       strict=True):
            for key, value in {"text": text, **expected}.items():
                if value is not None:
                    differences.compare(key + where, text, row[key], value)
            n_tokens += len(expected["ids"]) if special else 0
    print(f"{args.tokenizer}: {len(texts)} texts, {n_tokens} tokens; differences: "
          f"{differences.counts}")
    sys.exit(any(differences.counts.values()))


if __name__ == "__main__":
    main()
