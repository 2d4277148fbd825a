#!/usr/bin/env python3
"""What `weft train` exports, loaded unchanged by transformers: the losses that it gives, for
tests/faults/export.bats.

    python tests/data/make_export.py build/weft tests/data
trains a small GPT-2 for 20 steps, loads model/ with GPT2LMHeadModel and AutoTokenizer, and writes
export.json: of each text its ids and its loss in fp64. export.bats repeats the training and holds
`weft score` of model/ and of the checkpoint against it. With transformers 5.24.0 and torch
2.15.0+cu132: losses 5.399143, 6.297590, 5.444483, 6.836571.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoTokenizer, GPT2LMHeadModel

TEXTS = [
    "the little people said that many words were known", "don't I'll we've\n x=1+2; y=3.14",
    "Größe café 東京 москва", "a b c <|endoftext|> d"
]
RECIPE = [
    "--layers", "2", "--width", "48", "--heads", "3", "--context", "64", "--batch-size", "4",
    "--lr", "3e-3", "--steps", "20", "--seed", "7", "--threads", "1"
]


def main(weft, data):
    tokenizer = os.path.join(data, "tokenizer")
    with tempfile.TemporaryDirectory() as folder:
        tokens, out = os.path.join(folder, "data.h5"), os.path.join(folder, "out")
        subprocess.run([
            weft, "data",
            os.path.join(tokenizer, "corpus.txt"), "--tokenizer", tokenizer, "--out", tokens
        ],
                       check=True)
        subprocess.run([weft, "train", "--data", tokens, "--out", out, *RECIPE], check=True)
        tok = AutoTokenizer.from_pretrained(os.path.join(out, "model"))
        model, info = GPT2LMHeadModel.from_pretrained(os.path.join(out, "model"),
                                                      output_loading_info=True)
        assert not any(
            info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        model = model.double().eval()
        cases = []
        for text in TEXTS:
            ids = tok(text)["input_ids"]
            x = torch.tensor([ids])
            cases.append({"text": text, "ids": ids, "loss": model(x, labels=x).loss.item()})
            print(repr(text), len(ids), cases[-1]["loss"])
    with open(os.path.join(data, "export.json"), "w") as f:
        json.dump(
            {
                "transformers": transformers.__version__, "torch": torch.__version__,
                "recipe": RECIPE, "cases": cases
            },
            f,
            indent=1)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
