#!/usr/bin/env python3
"""Small SentencePiece models, the tokenizer.json that says the same, and what their normalizer
tables do, for tests/text.

    python tests/data/make_sentencepiece.py tests/data/sentencepiece
Made with sentencepiece 0.2.3 and tokenizers 0.23.3. Each tokenizer.json is checked here: it encodes
and decodes as SentencePiece does.
"""
import base64
import json
import os
import random
import re
import sys

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, normalizers
from make_tokenizer import HOSTILE, corpus

# As few rules as show everything: one to one, one to many, many to one, to nothing, a sequence
# whose beginning is a rule too.
RULES = [
    "FF21\t41", "FB01\t66 69", "65 301\tE9", "AD\t", "3A9 308\t3C9", "3A9\t4F", "1F600\t3A 29",
    "3000\t20", "9\t20", "200B\t20"
]
MODELS = {
    "unigram_table": dict(model_type="unigram",
                          vocab_size=90,
                          normalization_rule_tsv="rules",
                          byte_fallback=False),
    "unigram_plain": dict(model_type="unigram",
                          vocab_size=350,
                          normalization_rule_name="identity",
                          byte_fallback=True,
                          add_dummy_prefix=False,
                          remove_extra_whitespaces=False),
    "unigram_defined": dict(model_type="unigram",
                            vocab_size=90,
                            normalization_rule_name="identity",
                            byte_fallback=False,
                            user_defined_symbols=["a.b", "<x>", "the"]),
    "bpe_llama": dict(model_type="bpe",
                      vocab_size=400,
                      normalization_rule_name="identity",
                      byte_fallback=True,
                      remove_extra_whitespaces=False),
    "bpe_gemma": dict(model_type="bpe",
                      vocab_size=400,
                      normalization_rule_name="identity",
                      byte_fallback=True,
                      remove_extra_whitespaces=False,
                      add_dummy_prefix=False,
                      user_defined_symbols=["[x]", "==", "==="],
                      bos_id=2,
                      eos_id=1,
                      unk_id=3,
                      pad_id=0),
    "bpe_table": dict(model_type="bpe",
                      vocab_size=120,
                      normalization_rule_tsv="rules",
                      byte_fallback=False),
}


def expected_json(m):
    """Written apart from the C++ one, from SentencePiece's own documentation of its fields."""
    pieces, spec, norm = m.pieces, m.trainer_spec, m.normalizer_spec
    added = [{
        "id": i, "content": p.piece, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True
    } for i, p in enumerate(pieces) if p.type in (2, 3)]
    steps = []
    if norm.precompiled_charsmap:
        steps.append({
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(norm.precompiled_charsmap).decode()
        })
    if norm.remove_extra_whitespaces:
        steps += [{"type": "Replace", "pattern": {"Regex": p}, "content": c}
                  for p, c in ((r"\A +| +\z", ""), (" {2,}", " "))]
    if norm.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": "▁"})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    defined = sorted([p.piece for p in pieces if p.type == 4], key=lambda p: -len(p.encode()))
    split = {
        "type": "Split", "pattern": {
            "Regex": "|".join(
                re.escape(p).replace(r"\=", "=").replace(r"\<", "<") for p in defined)
        }, "behavior": "Isolated", "invert": False
    }
    decode = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
             ] + [{"type": "ByteFallback"}] * spec.byte_fallback + [{"type": "Fuse"}]
    if norm.add_dummy_prefix:
        decode.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    if spec.model_type == 1:
        model = {
            "type": "Unigram", "unk_id": spec.unk_id, "vocab": [[p.piece, p.score] for p in pieces],
            "byte_fallback": spec.byte_fallback
        }
    else:
        normal = {p.piece: i for i, p in enumerate(pieces) if p.type == 1}
        merges = sorted((-pieces[i].score, i, k)
                        for t, i in normal.items()
                        for k in range(1, len(t))
                        if t[:k] in normal and t[k:] in normal)
        model = {
            "type": "BPE", "dropout": None, "unk_token": pieces[spec.unk_id].piece,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": spec.byte_fallback, "ignore_merges": bool(defined),
            "vocab": {p.piece: i for i, p in enumerate(pieces)},
            "merges": [[pieces[i].piece[:k], pieces[i].piece[k:]] for _, i, k in merges]
        }
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence",
                       "normalizers": steps}, "pre_tokenizer": split if defined else None,
        "post_processor": None, "decoder": {"type": "Sequence", "decoders": decode}, "model": model
    }


def main(out):
    os.makedirs(out, exist_ok=True)
    rng = random.Random(2)
    text, rules = os.path.join(out, "text"), os.path.join(out, "rules")
    words = " ".join(corpus(rng)).split(" ")
    with open(text, "w") as f:
        for _ in range(300):
            f.write(" ".join(w for w in rng.choices(words, k=12) if w.isascii()) + "\n")
    with open(rules, "w") as f:
        f.write("\n".join(RULES) + "\n")
    pool = words[:300] + [
        "Ａ", "ﬁ", "e\u0301", "\u00ad", "Ω\u0308", "Ω", "😀", "\u3000", "  ", "\t", "a.b", "<x>",
        "==", "===", "[x]", "\u0301", "日本"
    ]
    cases = HOSTILE + [
        "".join(rng.choices(pool + [" "] * 60, k=rng.randint(1, 9))) for _ in range(150)
    ]
    cases = [c for c in cases if "\0" not in c and "<|" not in c]
    golden = {"sentencepiece": sentencepiece.__version__, "tokenizers": {}, "tables": {}}
    for name, options in MODELS.items():
        options = dict(options)
        if "normalization_rule_tsv" in options:
            options["normalization_rule_tsv"] = rules
        prefix = os.path.join(out, name)
        sentencepiece.SentencePieceTrainer.train(input=text,
                                                 model_prefix=prefix,
                                                 character_coverage=1.0,
                                                 minloglevel=2,
                                                 **options)
        os.remove(prefix + ".vocab")
        m = sentencepiece_model_pb2.ModelProto()
        m.ParseFromString(open(prefix + ".model", "rb").read())
        m.trainer_spec.ClearField("input")  # paths of this machine
        m.trainer_spec.ClearField("model_prefix")
        m.normalizer_spec.ClearField("normalization_rule_tsv")
        open(prefix + ".model", "wb").write(m.SerializeToString())
        json_object = expected_json(m)
        sp, tok = sentencepiece.SentencePieceProcessor(
            model_file=prefix + ".model"), Tokenizer.from_str(json.dumps(json_object))
        wrong = [c for c in cases if tok.encode(c, add_special_tokens=False).ids != sp.encode(c)]
        assert not wrong, (name, wrong[:3])
        golden["tokenizers"][name] = json_object
        if m.normalizer_spec.precompiled_charsmap:
            table = normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap)
            golden["tables"][name] = [[c, table.normalize_str(c)] for c in cases]
    os.remove(text)
    os.remove(rules)
    with open(os.path.join(out, "golden.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1])
