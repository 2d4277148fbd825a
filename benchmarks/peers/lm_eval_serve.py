#!/usr/bin/env python3
"""lm-eval's log-likelihoods over `weft serve` beside those of its own hf backend, on one
multiple-choice task given as local JSON.

    pip install "lm-eval[api]" accelerate peft torch transformers
    build/weft serve --model DIR --served-model-name served --port 8000 &
    benchmarks/peers/lm_eval_serve.py --url http://127.0.0.1:8000 --model DIR [--items F.jsonl]

DIR is a Hugging Face directory with its tokenizer. A line of F.jsonl has `question`, `choices` and
`answer` (which of them). Exit code 1 where any choice's log-likelihood differs by more than 1e-4.
"""

import argparse
import json
import pathlib
import sys
import tempfile

ITEMS = [
    {"question": "The water of the", "choices": ["sea", "house", "horse"], "answer": 0},
    {"question": "A house has a", "choices": ["roof", "river"], "answer": 0},
    {"question": "He went to the", "choices": ["town and back", "a", "other side"], "answer": 2},
    {"question": "There is", "choices": ["a body of water", "no such thing"], "answer": 1},
]


def log_likelihoods(lm_eval, task, **model):
    """Of every choice of every item, and whether each is the greedy text."""
    results = lm_eval.simple_evaluate(tasks=[task], log_samples=True, bootstrap_iters=0, **model)
    samples = sorted(results["samples"]["served"], key=lambda s: s["doc_id"])
    return [(float(r[0]), str(r[1]) == "True") for s in samples for r in s["filtered_resps"]]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--url", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--served-model-name", default="served")
    p.add_argument("--items")
    p.add_argument("--max-length", type=int, default=0, help="the model's context; 0: it says")
    o = p.parse_args()
    import lm_eval
    import transformers

    folder = pathlib.Path(tempfile.mkdtemp())
    items = pathlib.Path(o.items).read_text().splitlines() if o.items else map(json.dumps, ITEMS)
    (folder / "items.jsonl").write_text("\n".join(items) + "\n")
    task = {
        "task": "served",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}],
    }
    config = transformers.AutoConfig.from_pretrained(o.model)
    length = o.max_length or config.max_position_embeddings
    served = log_likelihoods(
        lm_eval, task, model="local-completions", batch_size=4,
        model_args={"model": o.served_model_name, "base_url": o.url + "/v1/completions",
                    "tokenizer": o.model, "max_length": length, "num_concurrent": 2})
    own = log_likelihoods(lm_eval, task, model="hf", batch_size=4, device="cpu",
                          model_args={"pretrained": o.model, "dtype": "float32",
                                      "max_length": length})
    worst = max(abs(a[0] - b[0]) for a, b in zip(served, own, strict=True))
    print(json.dumps({"lm_eval": lm_eval.__version__, "choices": len(own), "largest": worst,
                      "greedy_alike": all(a[1] == b[1] for a, b in zip(served, own))}))
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
