#!/usr/bin/env python3
"""Golden values of the parts of a tokenizer (models, post-processors, decoders) from Hugging Face
tokenizers, for tests/text.

    python tests/data/make_parts.py tests/data/parts.json
Made with tokenizers 0.23.3. Vocabularies are drawn over few letters, so that many paths tie;
offsets are in bytes.
"""
import json
import random
import sys

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

LETTERS = ["a", "b", "c", "é", "日"]


def words(rng, n, letters, longest):
    return ["".join(rng.choices(letters, k=rng.randint(1, longest))) for _ in range(n)]


def tokenize(model, pieces):
    return [[p, [[t.id, *t.offsets] for t in model.tokenize(p)]] for p in pieces]


def state(part):
    return json.loads(part.__getstate__())


def wordpiece_models(rng):
    for prefix, longest in (("##", 100), ("##", 6), ("", 100), ("é", 100)):
        starts, rest = words(rng, 25, LETTERS, 4), words(rng, 25, LETTERS, 3)
        vocab = {
            t: i for i, t in enumerate(
                dict.fromkeys(["[UNK]"] + starts + [prefix + w for w in rest] +
                              [prefix + "a", "a", prefix]))
        }
        model = models.WordPiece(vocab,
                                 unk_token="[UNK]",
                                 max_input_chars_per_word=longest,
                                 continuing_subword_prefix=prefix)
        yield state(model), tokenize(
            model,
            words(rng, 60, LETTERS + ["x"], 9) + starts + ["é" * longest, "é" * (longest + 1)])


def word_level_models(rng):
    known = list(dict.fromkeys(words(rng, 20, LETTERS, 3)))
    model = models.WordLevel({t: i for i, t in enumerate(["<unk>"] + known)}, unk_token="<unk>")
    yield state(model), tokenize(model, known + words(rng, 20, LETTERS, 4))


def unigram_models(rng):
    for k in range(12):
        pieces = list(
            dict.fromkeys(["<unk>"] + LETTERS[:rng.randint(1, 5)] + words(rng, 30, LETTERS, 5) +
                          ["▁", "▁a", "<un"]))
        if k % 2:  # whole numbers: many sums are equal
            vocab = [(p, float(-rng.randint(0, 3))) for p in pieces]
        else:
            vocab = [(p, rng.uniform(-12, -1)) for p in pieces]
        if k == 7:
            vocab += [("a", -1.5), ("ab", 0.0)]  # twice
        if k == 9:
            vocab = [(p, s + 20) for p, s in vocab] + [("xx", -1.0), ("xxx", 3.0)]
        if k % 3 == 1:
            vocab += [(f"<0x{b:02X}>", 0.0 if k == 4 else -20.0)
                      for b in (range(256) if k != 10 else range(128))]
        model = models.Unigram(vocab, 0, k % 3 == 1)
        pieces = words(rng, 50, LETTERS + ["x", "▁", "😀"],
                       14) + ["<unk>", "x<unk>x", "a<unk>", "xxxx", "xxaxxx", "", "<0x41>", "😀x"]
        yield state(model), tokenize(model, pieces)


def encoding(e):
    return {
        "ids": e.ids, "type_ids": e.type_ids, "offsets": [list(o) for o in e.offsets],
        "added": e.special_tokens_mask
    }


def post_processors(rng):
    cls_sep = [("[CLS]", 1), ("[SEP]", 2)]
    multi = [("[CLS]", 1), {"id": "ab", "ids": [7, 8, 9], "tokens": ["a", "b", "c"]}]
    bert = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                         pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                         special_tokens=cls_sep)
    all_of_them = [
        None,
        bert,
        processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[]),
        processors.TemplateProcessing(single="[CLS]:3 $A:2 ab:1",
                                      pair="$B:5 ab $A:4 $B [CLS]",
                                      special_tokens=multi),
        processors.TemplateProcessing(single="ab $A", pair="$A $A [CLS] $B", special_tokens=multi),
        processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1),
                                     trim_offsets=True,
                                     add_prefix_space=True),
        processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1),
                                     trim_offsets=True,
                                     add_prefix_space=False),
        processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1), trim_offsets=False),
        processors.ByteLevel(trim_offsets=True, add_prefix_space=True),
        processors.ByteLevel(trim_offsets=True, add_prefix_space=False),
        processors.ByteLevel(trim_offsets=False),
        processors.Sequence([processors.ByteLevel(trim_offsets=True, add_prefix_space=False),
                             bert]),
        processors.Sequence([bert,
                             processors.ByteLevel(trim_offsets=True, add_prefix_space=True)]),
        processors.Sequence([processors.ByteLevel(trim_offsets=False)]),
    ]
    tok = Tokenizer(
        models.WordLevel(
            {
                "<unk>": 0, "Ġa": 20, "a": 21, "ĠĠ": 22, "Ġ": 23, "Ċ": 24, "b": 25, "Ġb": 26,
                "ĠĠĠ": 27, "x": 28, "ĊĠ": 29
            },
            unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = ["a b  a", " a", "", "   ", "a\n  b", "  a  ", "x"]
    for post in all_of_them:
        cases = []
        for a in texts:
            for b in (None, rng.choice(texts), rng.choice(texts)):
                for add in (True, False):
                    tok.post_processor = None
                    case = {"texts": [a] + ([] if b is None else [b]), "add": add}
                    case["before"] = [encoding(tok.encode(t)) for t in case["texts"]]
                    if post:
                        tok.post_processor = post
                    case["after"] = encoding(tok.encode(a, b, add_special_tokens=add))
                    cases.append(case)
        added = [post.num_special_tokens_to_add(pair) if post else 0 for pair in (False, True)]
        yield {"post_processor": state(post) if post else None, "n_added": added, "cases": cases}


def decoder_cases(rng):
    tokens = [
        "▁a", "▁", "a▁b", "▁▁", "##b", "##", "b##b", "Ġthe", "ĠĠ", "Ċ", "Ã", "©", "日本", "<0x0A>",
        "<0xE6>", "<0x97>", "<0xA5>", "<0xFF>", "<0x+A>", "<0xG0>", "<0xé>", "a</w>", "</w>",
        "x</w>y</w>", " ", "  a ", " .", "n't", "do", "not", "'", "s", "'s", "|", "<pad>", "a|b",
        "hello", "!", ",", " a", "aab", "", "aaaa"
    ]
    all_of_them = [
        decoders.ByteLevel(),
        decoders.WordPiece(),
        decoders.WordPiece(prefix="b", cleanup=False),
        decoders.Metaspace(),
        decoders.Metaspace(prepend_scheme="never"),
        decoders.Metaspace(replacement="a", prepend_scheme="first"),
        decoders.Replace("▁", " "),
        decoders.Replace("aa", "b"),
        decoders.Replace(Regex("a+|^x*"), "-"),
        decoders.Replace(Regex(r"\s"), ""),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
        decoders.Strip("a", 2, 1),
        decoders.BPEDecoder(),
        decoders.CTC(),
        decoders.CTC(pad_token="a", word_delimiter_token="b", cleanup=False),
        decoders.Sequence([
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0)
        ]),
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
        decoders.Sequence([]),
    ]
    # The reference stops with an error where Strip finds less than it takes away at both ends, so
    # such tokens are not asked of it.
    for decoder in all_of_them:
        name = state(decoder)
        pool = [t for t in tokens if not (name["type"] == "Strip" and len(t) < 4)]
        cases = [["hello", "hello", "world"], ["he", "do", "not", "'", "s"]]
        cases += [rng.choices(pool, k=rng.randint(1, 6)) for _ in range(30)]
        golden = [[case, decoder.decode(case)] for case in cases]
        if name["type"] == "ByteLevel":  # ours keeps bytes that are not UTF-8
            golden = [g for g in golden if "\ufffd" not in g[1]]
        yield {"decoder": name, "cases": golden}


def main(out):
    rng = random.Random(5)
    made = [m for kind in (wordpiece_models, word_level_models, unigram_models) for m in kind(rng)]
    golden = {
        "tokenizers": tokenizers.__version__, "models": [{"model": m, "cases": c} for m, c in made],
        "post_processors": list(post_processors(rng)), "decoders": list(decoder_cases(rng))
    }
    with open(out, "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1])
