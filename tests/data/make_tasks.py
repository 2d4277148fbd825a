#!/usr/bin/env python3
"""Golden values of what infer's tasks make of a model, from the reference implementation, for
tests/infer/tasks_test.cpp.

Run with torch and transformers:  python tests/data/make_tasks.py tests/data
The models are those of make_families.py; texts are lists of ids, each run alone, in fp32.
"""
import json
import os
import sys

import torch
import transformers as hf

TEXTS = [[2, 17, 5, 44, 9, 3], [2, 61, 3], [2, 8, 30, 31, 32, 33, 70, 71, 12, 3], [2, 3]]
ESM_TEXTS = [[0, 5, 9, 20, 2], [0, 4, 4, 13, 7, 22, 6, 2]]


def run(model, ids, **more):
    with torch.no_grad():
        return model(torch.tensor([ids]), **more)


def classify(model, texts):
    out = []
    for ids in texts:
        logits = run(model, ids).logits[0]
        kind = model.config.problem_type or ("regression" if model.config.num_labels == 1 else
                                             "single_label_classification")
        p = logits if kind == "regression" else logits.sigmoid() if kind.startswith(
            "multi") else logits.softmax(-1)
        out.append({"logits": logits.flatten().tolist(), "probabilities": p.flatten().tolist()})
    return out


def fill(model, texts, mask, k=5):
    out = []
    for ids in texts:
        masked = [mask if i in (1, len(ids) - 2) else t for i, t in enumerate(ids)]
        p = run(model, masked).logits[0].softmax(-1)
        top = [p[i].topk(k) for i, t in enumerate(masked) if t == mask]
        out.append({
            "ids": masked,
            "candidates": [{"ids": t.indices.tolist(), "scores": t.values.tolist()} for t in top]
        })
    return out


def pseudo(model, texts, mask):
    out = []
    for ids in texts:
        scores = []
        for i, t in enumerate(ids):
            if i in (0, len(ids) - 1):
                scores.append(None)
                continue
            logits = run(model, [mask if j == i else u for j, u in enumerate(ids)]).logits[0, i]
            scores.append(logits.log_softmax(-1)[t].item())
        out.append(scores)
    return out


def embed(model, texts):
    out = []
    for ids in texts:
        states = run(model, ids, output_hidden_states=True).hidden_states
        out.append([{
            "mean": s[0].mean(0).tolist(), "max": s[0].max(0).values.tolist(),
            "cls": s[0, 0].tolist(), "last": s[0, -1].tolist()
        } for s in states])
    return out


def main(data):

    def load(cls, name):
        return getattr(hf, cls).from_pretrained(os.path.join(data, "families", name),
                                                dtype=torch.float32,
                                                attn_implementation="eager").eval()

    golden = {
        "versions": {"torch": torch.__version__, "transformers": hf.__version__}, "texts": TEXTS,
        "esm_texts": ESM_TEXTS
    }
    golden["classify"] = {
        n: classify(load("AutoModelForSequenceClassification", n), TEXTS)
        for n in ("bert_classify", "distilbert_classify", "roberta_classify", "roberta_multilabel",
                  "gpt2_classify", "llama_classify")
    }
    golden["classify"]["bert_tokens"] = classify(
        load("AutoModelForTokenClassification", "bert_tokens"), TEXTS)
    golden["classify"]["llama_tokens"] = classify(
        load("AutoModelForTokenClassification", "llama_tokens"), TEXTS)
    golden["fill"] = {
        "bert_mlm": fill(load("AutoModelForMaskedLM", "bert_mlm"), TEXTS[:3], 4),
        "esm_mlm": fill(load("AutoModelForMaskedLM", "esm_mlm"), ESM_TEXTS, 32)
    }
    golden["pseudo"] = {
        "bert_mlm": pseudo(load("AutoModelForMaskedLM", "bert_mlm"), TEXTS, 4),
        "esm_mlm": pseudo(load("AutoModelForMaskedLM", "esm_mlm"), ESM_TEXTS, 32)
    }
    golden["embed"] = {
        n: embed(load("AutoModel", n), TEXTS[:2])
        for n in ("bert_base", "llama_base", "gptneox_parallel", "roberta_mlm")
    }
    # A masked model as a causal one: its prompt is seen whole, what follows sees what came before.
    bert = load("AutoModelForCausalLM", "bert_mlm")
    golden["bert_as_causal"] = [
        bert.generate(torch.tensor([p]),
                      do_sample=False,
                      max_new_tokens=20,
                      eos_token_id=None,
                      pad_token_id=0)[0, len(p):].tolist() for p in TEXTS
    ]
    with open(os.path.join(data, "tasks.json"), "w") as f:
        f.write(
            json.dumps(json.loads(json.dumps(golden),
                                  parse_float=lambda x: float(f"{float(x):.9g}")),
                       separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
