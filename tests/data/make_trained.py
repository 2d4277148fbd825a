#!/usr/bin/env python3
"""Vocabularies that Hugging Face's trainers learn from small corpora, for
tests/text/trainer_kinds_test.cpp.

    python tests/data/make_trained.py tests/data/trained.json
Made with tokenizers 0.23.3. The reference gives the ids of WordPiece's "##x" in the order of a hash
table: here they are special tokens, so that its ties come out alike in every run.
"""
import json
import random
import sys

import tokenizers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from make_tokenizer import HOSTILE, corpus

SMILES = (r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p"
          r"|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$|%[0-9]{2}|[0-9]")
MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[C@@H](C(=O)O)N", "F/C=C\\F",
    "[Na+].[Cl-]", "C%12CCCCC%12", "BrCCBr>>C=C", "c1ccc2c(c1)[nH]cc2"
]


def train(kind, texts, vocab_size, special_tokens, min_frequency=2, limit_alphabet=1000):
    common = {"vocab_size": vocab_size, "special_tokens": special_tokens, "show_progress": False}
    if kind == "wordpiece":
        tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(
        ), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(min_frequency=min_frequency,
                                            limit_alphabet=limit_alphabet,
                                            **common)
    elif kind == "unigram":
        tok = Tokenizer(models.Unigram())
        tok.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tok.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **common)
    else:
        tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tok.pre_tokenizer = pre_tokenizers.Whitespace() if kind == "word" else pre_tokenizers.Split(
            Regex(SMILES), "isolated")
        trainer = trainers.WordLevelTrainer(**common)
    tok.train_from_iterator(texts, trainer)
    return {
        "kind": kind, "texts": texts, "vocab_size": vocab_size, "special_tokens": special_tokens,
        "min_frequency": min_frequency, "limit_alphabet": limit_alphabet,
        "vocab": json.loads(tok.to_str())["model"]["vocab"]
    }


def continuing(texts):
    """Every letter that continues a word, with its prefix."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(
    ), pre_tokenizers.BertPreTokenizer()
    letters = {
        c for t in texts
        for w, _ in tok.pre_tokenizer.pre_tokenize_str(tok.normalizer.normalize_str(t))
        for c in w[1:]
    }
    return ["##" + c for c in sorted(letters)]


def main(out):
    rng = random.Random(3)
    prose = corpus(rng)[:80] + HOSTILE
    ties = ["".join(rng.choices("ab cé", k=rng.randint(1, 30))) for _ in range(60)]
    dense = ["".join(rng.choices("天地玄黄宇宙洪荒日月盈昃。， a", k=rng.randint(1, 40))) for _ in range(40)]
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    cases = []
    for texts, sizes in ((prose, (400, 700)), (ties, (30, 60)), (dense, (60, 120))):
        for size in sizes:
            cases.append(
                train("wordpiece", texts, size, bert + continuing(texts), rng.choice([0, 2, 3])))
            cases.append(
                train("unigram", texts,
                      max(size, 240) if texts is prose else size, ["</s>", "<unk>"]))
        cases.append(train("word", texts, 50, ["<|endoftext|>", "<unk>"]))
    cases.append(train("word", prose, 5000, ["<unk>"]))
    cases.append(train("smiles", MOLECULES, 1000, ["<|endoftext|>", "<unk>"]))
    cases.append(train("smiles", MOLECULES, 12, ["<|endoftext|>", "<unk>"]))
    with open(out, "w", encoding="utf-8") as f:
        json.dump({"tokenizers": tokenizers.__version__, "cases": cases},
                  f,
                  ensure_ascii=False,
                  separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1])
