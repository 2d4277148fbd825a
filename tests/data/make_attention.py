#!/usr/bin/env python3
"""Attention maps and hidden states of the small models of tests/data/families from the reference
implementation (eager attention), for tests/inspect.

Run with torch and transformers (their versions stand in the file):
    python tests/data/make_attention.py tests/data/families tests/data/attention.json
Computed in fp64 as in make_families.py; maps are rounded to 7 decimals, the rest to 7 digits.

Of a model: ids and type_ids (T), attention (L, H, T, T), hidden (L + 1, T, C) as hidden_states, and
logits (T, V) where it has a language model's head.
"""
import json
import os
import sys

import torch
import transformers as hf

from make_families import MODELS, in_fp64

T = 8  # more than the windows of mistral, gemma2 and qwen2


def rounded(x, digits):
    if isinstance(x, list):
        return [rounded(e, digits) for e in x]
    return float(f"{x:.{digits}g}") if digits else round(x, 7)


def golden(folder, name):
    class_name, kind, settings, _ = MODELS[name]
    model = getattr(hf, class_name).from_pretrained(os.path.join(folder, name),
                                                    attn_implementation="eager",
                                                    dtype=torch.float32).double().eval()
    # Neither pad nor mask, the same for all.
    V = settings["vocab_size"]
    ids = [4 + (11 * i + 3) % (V - 5) for i in range(T)]
    made = {"ids": ids}
    inputs = {"input_ids": torch.tensor([ids])}
    if class_name.startswith("Bert"):
        made["type_ids"] = [int(i >= T // 2) for i in range(T)]
        inputs["token_type_ids"] = torch.tensor([made["type_ids"]])
    with torch.no_grad(), in_fp64():
        out = model(**inputs, output_attentions=True, output_hidden_states=True)
    made["attention"] = rounded([a[0].tolist() for a in out.attentions], 0)
    made["hidden"] = rounded([h[0].tolist() for h in out.hidden_states], 7)
    if kind in ("clm", "mlm", "logits"):
        made["logits"] = rounded(out.logits[0].tolist(), 7)
    return made


def main():
    folder, path = sys.argv[1:]
    whole = {"torch": torch.__version__, "transformers": hf.__version__, "models": {}}
    for name in sorted(os.listdir(folder)):
        whole["models"][name] = golden(folder, name)
        print(name, file=sys.stderr)
    with open(path, "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}"
                                   for k, v in whole.items() if k != "models"))
        f.write(',\n"models": {\n' + ",\n".join(
            f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
            for k, v in whole["models"].items()) + "\n}}\n")


if __name__ == "__main__":
    main()
