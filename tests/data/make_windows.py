#!/usr/bin/env python3
"""Perplexity of long texts in sliding windows from the reference implementation, for tests/infer.

Run with torch and transformers (their versions stand in the output):
    python tests/data/make_windows.py tests/data
Writes windows.json. The windows, labels and weights are those of the guide "Perplexity of
fixed-length models" in transformers'
documentation: a window's mean loss counts for one token less than it has labels. Models compute in
fp64; text (i · 7919 + i² · 31) mod V.
"""
import json
import os
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM

folder = sys.argv[1]
torch.set_num_threads(1)


def windows(model, ids, size, stride):
    total, weights, reached = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + size, len(ids))
        fresh = end - reached
        inputs = torch.tensor([ids[begin:end]])
        labels = inputs.clone()
        labels[:, :-fresh] = -100
        with torch.no_grad():
            loss = model(inputs, labels=labels).loss
        weight = int((labels != -100).sum()) - labels.size(0)
        if weight > 0:
            total += loss.item() * weight
            weights += weight
        reached = end
        if end == len(ids):
            break
    return total / weights


out = {
    "versions": f"torch {torch.__version__}, transformers {transformers.__version__}", "cases": []
}
for name in ("gpt2_h5", "gpt2_h3"):
    model = AutoModelForCausalLM.from_pretrained(os.path.join(folder, name),
                                                 dtype=torch.float64).eval()
    size = model.config.n_positions
    for n in (2, size - 1, size, size + 1, 2 * size, 3 * size + 7):
        ids = [(i * 7919 + i * i * 31) % model.config.vocab_size for i in range(n)]
        for stride in (size // 3, size // 2 + 1, size - 1, size):
            out["cases"].append({
                "model": name, "n": n, "stride": stride, "loss": windows(model, ids, size, stride)
            })
with open(os.path.join(folder, "windows.json"), "w") as file:
    json.dump(out, file)
    file.write("\n")
