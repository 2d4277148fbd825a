"""Valid inputs for the fuzzer of commands.py: texts of every kind, and what weft itself makes."""
import gzip
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
WORDS = ("the cat sat on a mat and saw the little people of the old town near the sea 12 345 "
         "caf\u00e9").split()


def environment():
    env = dict(os.environ,
               OMP_NUM_THREADS="1",
               OMPI_ALLOW_RUN_AS_ROOT="1",
               OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
               OMPI_MCA_btl_vader_single_copy_mechanism="none")
    # Open MPI and hwloc leave what they allocated; an absurd allocation is a fault to be told of.
    env["ASAN_OPTIONS"] = ("detect_leaks=0:abort_on_error=0:exitcode=99:"
                           "allocator_may_return_null=0:max_allocation_size_mb=4096:"
                           "hard_rss_limit_mb=6000")
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:exitcode=99"
    return env


def inputs(first_word="the"):
    """A file of each kind that holds texts (with labels where the kind can)."""
    rng = random.Random(1)
    some = [
        " ".join([first_word] + [rng.choice(WORDS)
                                 for _ in range(rng.randint(1, 8))])
        for _ in range(24)
    ]
    lines = [
        json.dumps({
            "id": f"n{i}", "text": t, "label": i % 3, "second": some[-1 - i], "max_new_tokens": 2,
            "temperature": 0.7, "do_sample": True, "top_k": 5, "stop": ["a", "b"],
            "bad_words": ["cat"], "seed": i
        }) for i, t in enumerate(some)
    ]
    table = [["id", "text", "label", "second"]
            ] + [[str(i), f'"{t}"', "xyz"[i % 3], some[-1 - i]] for i, t in enumerate(some)]
    rng = random.Random(2)
    proteins = "".join(f">p{i} of a family\n" +
                       "".join(rng.choice("LAGVSERTIDPKQNFYMHWC")
                               for _ in range(30)) + "\n"
                       for i in range(12))
    return {
        "txt": "\n".join(some) + "\n\n" + "\n".join(some) + "\n",
        "jsonl": "\n".join(lines) + "\n",
        "csv": "\n".join(",".join(row) for row in table) + "\n",
        "tsv": "\n".join("\t".join(cell.strip('"') for cell in row) for row in table) + "\n",
        "fasta": proteins,
        "smi": "CCO ethanol\nc1ccccc1 benzene\nCC(=O)Oc1ccccc1C(=O)O aspirin\n"
               "N[C@@H](C)C(=O)O\n[Na+].[Cl-] salt\n",
        "jsonl.gz": "\n".join(lines) + "\n",
    }


def run_log():
    """Two starts with every field that a report reads, in lines of training and of a text job."""
    shares = dict(forward=0.4, backward=0.3, comm=0.1, optimizer=0.1, bubble=0, data=0, other=0.1)
    start = {
        "event": "start", "log_version": 1, "time": "2026-11-29T19:30:00Z", "what": "train",
        "command": "weft train --out run", "commit": "abc", "hosts": ["a", "b"], "device": "cpu",
        "grid": {"tp": 2, "pp": 1, "dp": 1}, "ranks": 2, "nodes": 2, "threads": 1, "step": 0,
        "model": {"family": "gpt2", "layers": 2, "width": 16, "context": 32}, "parameters": 999,
        "batch_size": 2, "machine": {"name": "m", "site": "s"}, "dtype": "fp32",
        "peaks": {"matmul_flops": 1e9}, "options": {"lr": 0.1, "model": "a/b", "tp": 2},
        "job": {"queue": "q"}
    }
    step = {
        "event": "step", "loss": 3.5, "tokens": 64, "step_s": 0.1, "tokens_per_s": 640.0,
        "mfu": 0.2, "peak_share": 0.3, "comm_bytes": 1000, "shares": shares
    }
    lines = [start] + [{**step, "step": i, "elapsed_s": i / 10} for i in range(1, 7)]
    lines += [{"event": "eval", "step": 6, "loss": 3.6}, {"event": "save", "seconds": 0.1},
              {**start, "step": 4, "resumed": {"step": 4, "lost_tokens": 128, "lost_s": 0.2}}]
    lines += [{**step, "step": i, "elapsed_s": i / 10} for i in range(5, 12)]
    spread = {"p50": 0.1, "p95": 0.2, "p99": 0.3}
    lines += [{**start, "what": "generate"},
              {"event": "progress", "elapsed_s": 1, "items": 3, "new_tokens": 9},
              {"event": "end", "reason": "done", "elapsed_s": 2, "items": 4, "prompt_tokens": 40,
               "new_tokens": 12, "tokens_per_s": 26, "ttft_s": spread, "inter_token_s": spread,
               "batch_occupancy": 0.5, "streamed_bytes_per_s": 1e9, "shares": shares}]
    return lines


class Fixtures:
    """Valid files that the program itself makes, once."""

    def __init__(self, weft, folder):
        self.weft, self.folder = weft, folder
        for prefix, first_word in (("in", "the"), ("mask", "[MASK]")):
            for kind, content in inputs(first_word).items():
                data = content.encode()
                (folder / f"{prefix}.{kind}"
                ).write_bytes(gzip.compress(data, mtime=0) if kind.endswith("gz") else data)
        sizes = [
            "--layers", "1", "--width", "16", "--heads", "2", "--context", "32", "--batch-size",
            "2", "--steps", "2", "--save-every", "1", "--threads", "1"
        ]
        self.make("tokenizer", "in.txt", "--vocab-size", "290", "--out", "tok")
        self.make("data", "in.txt", "--tokenizer", "tok", "--val-fraction", "0.2", "--out",
                  "tokens.h5")
        self.make("data", "in.jsonl", "--tokenizer", "tok", "--task", "classify", "--val-fraction",
                  "0.2", "--out", "labels.h5")
        self.make("train", "--data", "tokens.h5", *sizes, "--out", "run")
        self.make("train", "--data", "labels.h5", *sizes, "--task", "classify", "--out", "classes")
        (folder / "masked").mkdir()
        bert = DATA / "families" / "bert_mlm"
        shutil.copy(bert / "config.json", folder / "masked")
        shutil.copy(bert / "model.safetensors", folder / "masked")
        config = json.loads((bert / "config.json").read_text())
        vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
                ] + [f"w{i}" for i in range(config["vocab_size"] - 5)]
        (folder / "masked" / "vocab.txt").write_text("\n".join(vocab) + "\n")
        (folder / "masked" / "tokenizer_config.json"
        ).write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
        # A template and a generation file, so that they are damaged too.
        for name in ("run/model", "masked", "classes/model"):
            path = folder / name / "tokenizer_config.json"
            settings = json.loads(path.read_text()) if path.exists() else {}
            settings["chat_template"] = (
                "{% for m in messages %}{{ m['role'] + ': ' + m['content'] | trim }}\n{% endfor %}"
                "{% if add_generation_prompt %}assistant:{% endif %}")
            path.write_text(json.dumps(settings))
            (folder / name / "generation_config.json").write_text(
                '{"eos_token_id": 1, "do_sample": true, "temperature": 0.7, "top_k": 40, '
                '"top_p": 0.9, "max_length": 40, "repetition_penalty": 1.1, '
                '"no_repeat_ngram_size": 3}')
        # A log of everything that a report reads, and one that train wrote.
        self.logs = ["everything.jsonl", "run/run.jsonl"]
        (folder / self.logs[0]).write_text("".join(
            json.dumps(line) + "\n" for line in run_log()))
        self.gguf = sorted((DATA / "gguf").glob("*.gguf"))
        self.tokenizers = sorted(
            path.parent for path in (DATA / "tokenizers").glob("*/tokenizer.json"))
        self.families = sorted(path.parent for path in (DATA / "families").glob("*/config.json"))

    def make(self, *args):
        done = subprocess.run([self.weft, *args],
                              cwd=self.folder,
                              env=environment(),
                              capture_output=True,
                              text=True,
                              timeout=600)
        if done.returncode != 0:
            sys.exit(f"the valid inputs cannot be made: weft {' '.join(args)}: "
                     f"exit {done.returncode}\n{done.stderr[-3000:]}")
