#!/usr/bin/env python3
"""Mutated inputs for every command of weft, as the real program:

   commands.py WEFT [--seeds 200] [--first 0] [--only generate,train]

Each run must end within the time limit with 0 or 2; with 2, one sentence on stderr. No crash, no
sanitizer's report, no library's own words. A failing run is printed with its seed; `--only COMMAND
--first SEED --seeds 1 --keep FOLDER` repeats it and keeps its input.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from mutants import mutate
from valid_inputs import Fixtures, environment

# what only a library or the C++ runtime says, and what Weft says of its own faults
FOREIGN = re.compile(
    r"json\.exception|CLI::|format_error|\bstd::|terminate called|what\(\)|filesystem error|"
    r"basic_string|vector::|map::at|_M_range|bad_alloc|bad_function_call|bad_optional|bad_variant|"
    r"stoi|stol|stoul|stod|toml::|dnnl|H5[A-Z]\w+\(|HDF5-DIAG|\.cpp:\d+|fault of Weft|"
    r"Assertion|Segmentation|MPI_ABORT|PMIx|orte_|Traceback", re.I)
SANITIZER = re.compile(
    r"AddressSanitizer|runtime error:|UndefinedBehaviorSanitizer|LeakSanitizer|SUMMARY:")


class Case:
    """One run: its folder, what is damaged in it, its arguments."""

    def __init__(self, fixtures, folder, rng, damaged=True):
        self.f, self.folder, self.rng, self.damaged = fixtures, folder, rng, damaged
        self.stdin = b""

    def mutant(self, content, kind):
        return mutate(content, kind, self.rng) if self.damaged else content

    def put(self, source, name=None):
        """A copy of a fixture's file, damaged."""
        source = self.f.folder / source  # itself where it is absolute
        target = self.folder / (name or source.name)
        target.write_bytes(self.mutant(source.read_bytes(), source.suffix[1:]))
        return target.name

    def put_folder(self, source, name, keep=()):
        """A copy of a folder; one or two of its files damaged, gone, empty or a folder."""
        shutil.copytree(self.f.folder / source,
                        self.folder / name,
                        ignore=shutil.ignore_patterns("golden*"))
        if not self.damaged:
            return name
        files = sorted(path for path in (self.folder / name).iterdir() if path.name not in keep)
        for path in self.rng.sample(files, min(len(files), self.rng.choice([1, 1, 1, 2]))):
            way = self.rng.random()
            content = path.read_bytes()
            path.unlink()
            if way < 0.03:
                path.mkdir()
            elif way > 0.06:
                path.write_bytes(mutate(content, path.suffix[1:], self.rng))
        return name

    def text_file(self,
                  kinds=("txt", "jsonl", "csv", "tsv", "jsonl.gz", "fasta", "smi"),
                  prefix="in"):
        return self.put(f"{prefix}.{self.rng.choice(kinds)}")

    def recipe(self, values):
        """The options as a TOML file, damaged."""
        lines = ["[options]"]
        for key, value in values.items():
            lines.append(f"{key} = {json.dumps(value)}")
        source = self.folder / "valid.toml"
        source.write_text("\n".join(lines) + "\n")
        return self.put(source, "recipe.toml")

    def model(self, source, own_tokenizer=True):
        """Arguments that name a damaged model: the folder, a checkpoint, or a GGUF file beside a
        whole tokenizer."""
        way = self.rng.random()
        if way < 0.6:
            return [
                "--model",
                self.put_folder(f"{source}/model" if source != "masked" else source, "model")
            ]
        if way < 0.8 and source != "masked":
            return ["--model", self.put(f"{source}/checkpoints/step-00000002.h5")]
        if way < 0.9:
            return ["--model", self.put(self.rng.choice(self.f.gguf))]
        family = self.put_folder(self.rng.choice(self.f.families), "family", keep=("vocab.txt",))
        own = ["--tokenizer", str(self.f.folder / "tok")] if own_tokenizer else []
        return ["--model", family, *own]

    def whole(self, source):
        return [
            "--model",
            str(self.f.folder / (source if source == "masked" else f"{source}/model"))
        ]


def with_texts(case, command, source, own, options):
    """A command that runs a model over texts: one of model, texts and recipe is damaged."""
    fixed = ["--threads", "1", *own]
    way = case.rng.random()
    if way < 0.45:
        return [command, *case.model(source), "--text", "the cat [MASK] sat", *fixed]
    if way < 0.85:
        texts = case.text_file(("txt", "jsonl", "csv", "tsv",
                                "jsonl.gz"), "mask") if source == "masked" else case.text_file()
        return [
            command, *case.whole(source), "--in", texts,
            *(["--json"] if case.rng.random() < 0.5 else []), *fixed
        ]
    return [
        command, "--config",
        case.recipe({"text": ["the cat [MASK] sat"], "json": True, "seed": 3, **options}),
        *case.whole(source), *fixed
    ]


def generate(case):
    return with_texts(
        case, "generate", "run", ["--max-new-tokens", "3"], {
            "temperature": 0.7, "top_k": 5, "top_p": 0.9, "do_sample": True, "num_beams": 1,
            "num_return_sequences": 2, "stop": ["a", "b"], "bad_words": ["cat"],
            "repetition_penalty": 1.2, "min_new_tokens": 1, "dtype": "bf16", "eos_token_id": "1"
        })


def chat(case):
    way = case.rng.random()
    if way < 0.7:
        return [
            "chat", "--model",
            case.put_folder("run/model", "model"), "--prompt", "the cat", "--max-new-tokens", "2",
            "--threads", "1"
        ]
    if way < 0.85:
        case.stdin = case.mutant((case.f.folder / "in.txt").read_bytes(), "txt")[:400]
        return ["chat", *case.whole("run"), "--max-new-tokens", "1", "--threads", "1"]
    (case.folder / "valid.jinja").write_text(
        "{% set x = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ bos_token ~ m.content[0:5]|upper }}{% set x.n = x.n + 1 %}{% endif %}{% endfor %}"
        "{{ x.n }}")
    return [
        "chat", *case.whole("run"), "--prompt", "the cat", "--chat-template",
        case.put(case.folder / "valid.jinja", "t.jinja"), "--max-new-tokens", "2", "--threads", "1"
    ]


def score(case):
    return with_texts(case, "score", "run", [], {"token_logprobs": True, "dtype": "fp16"})


def classify(case):
    return with_texts(case, "classify", "classes", [], {"top_k": 2, "text_pair": ["a mat"]})


def fill(case):
    return with_texts(case, "fill", "masked", [], {"top_k": 3})


def embed(case):
    return with_texts(case, "embed", "run", [], {"pooling": "mean", "layer": 1, "normalize": True})


def attention(case):
    shown = ["--h5", "m.h5", "--export", "hidden"] if case.rng.random() < 0.5 else []
    return with_texts(case, "attention", case.rng.choice(["run", "masked"]), shown,
                      {"layers": "0", "heads": "0-1", "json": True})


def neighbors(case):
    if case.rng.random() < 0.8:
        return ["neighbors", "the", *case.model("run"), "--top-k", "3", "--threads", "1"]
    return [
        "neighbors", "the", *case.whole("run"), "--config",
        case.recipe({"top_k": 3, "metric": "cosine", "json": True}), "--threads", "1"
    ]


def info(case):
    return [
        "info",
        case.model(case.rng.choice(["run", "classes", "masked"]))[1],
        *(["--json"] if case.rng.random() < 0.5 else [])
    ]


def convert(case):
    return [
        "convert",
        case.model(case.rng.choice(["run", "classes", "masked"]))[1],
        case.rng.choice(["out", "out.h5"]), "--dtype",
        case.rng.choice(["fp32", "bf16", "fp16"])
    ]


def tokenize(case):
    way = case.rng.random()
    text = "The <s>na\u00efve cat's <|endoftext|>[MASK] 12  e\u0301 \u65e5 </s>"
    if way < 0.5:
        return [
            "tokenize", "--tokenizer",
            case.put_folder(case.rng.choice(
                [*case.f.tokenizers, case.f.folder / "tok", case.f.folder / "masked"]),
                            "tok",
                            keep=("golden.json", "model.safetensors")), "--text", text
        ]
    if way < 0.6:
        return ["tokenize", "--model", case.put(case.rng.choice(case.f.gguf)), "--text", text]
    if way < 0.8:
        return [
            "tokenize", "--tokenizer",
            str(case.rng.choice(case.f.tokenizers)), "--in",
            case.text_file(), "--json"
        ]
    if way < 0.9:
        ids = case.mutant(b"1 2 3 40 5 6", "txt").replace(b"\0",
                                                          b"").decode("utf-8", "surrogateescape")
        return ["tokenize", "--tokenizer", str(case.f.folder / "tok"), f"--decode={ids[:2000]}"]
    return [
        "tokenize", "--config",
        case.recipe({"text": ["the cat"], "json": True, "no_special_tokens": True}), "--tokenizer",
        str(case.f.folder / "tok")
    ]


def data(case):
    way = case.rng.random()
    if way < 0.4:
        return [
            "data",
            case.text_file(), "--tokenizer",
            str(case.f.folder / "tok"), "--out", "out.h5", "--documents",
            case.rng.choice(["line", "paragraph", "file"])
        ]
    if way < 0.7:
        return [
            "data",
            case.text_file(("jsonl", "csv", "tsv")), "--tokenizer",
            str(case.f.folder / "tok"), "--out", "out.h5", "--task",
            case.rng.choice(["classify", "regress", "mlm"]),
            *(["--pair-field", "second"] if case.rng.random() < 0.5 else [])
        ]
    if way < 0.9:
        return [
            "data",
            str(case.f.folder / "in.txt"), "--tokenizer",
            case.put_folder(case.rng.choice(case.f.tokenizers), "tok", keep=("golden.json",)),
            "--out", "out.h5"
        ]
    return [
        "data",
        str(case.f.folder / "in.txt"), "--out", "out.h5", "--config",
        case.recipe({
            "tokenizer": str(case.f.folder / "tok"), "documents": "line", "val_fraction": 0.1,
            "task": "clm"
        })
    ]


def tokenizer(case):
    kinds = ["bpe", "wordpiece", "unigram", "word", "char"]
    if case.rng.random() < 0.8:
        return [
            "tokenizer",
            case.text_file(), "--kind",
            case.rng.choice(kinds), "--vocab-size", "300", "--out", "out"
        ]
    return [
        "tokenizer",
        str(case.f.folder / "in.txt"), "--out", "out", "--config",
        case.recipe({
            "kind": case.rng.choice(kinds), "vocab_size": 300, "special_tokens": ["<a>", "<b>"],
            "unk_token": "<unk>"
        })
    ]


def train(case):
    fixed = ["--steps", "3", "--batch-size", "2", "--threads", "1", "--out", "run"]
    sizes = ["--layers", "1", "--width", "16", "--heads", "2", "--context", "16"]
    tokens, labels = str(case.f.folder / "tokens.h5"), str(case.f.folder / "labels.h5")
    way = case.rng.random()
    if way < 0.25:
        return ["train", "--data", case.put("tokens.h5"), *sizes, *fixed]
    if way < 0.45:
        return ["train", "--data", case.put("labels.h5"), "--task", "classify", *sizes, *fixed]
    if way < 0.6:
        return ["train", "--data", tokens, *case.model("run"), *fixed]
    if way < 0.65:
        return ["train", "--data", labels, "--task", "classify", *case.model("classes"), *fixed]
    if way < 0.8:
        return [
            "train", "--data", tokens, *sizes, "--context", "32", "--resume",
            case.put("run/checkpoints/step-00000002.h5"), *fixed
        ]
    values = {
        "data": tokens, "family": "gpt2", "lr": 0.001, "min_lr": 1e-5, "warmup_steps": 1,
        "lr_schedule": "cosine", "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8,
        "clip_grad_norm": 1.0, "dropout": 0.1, "eval_every": 1, "save_every": 2, "keep": 1,
        "recompute": "none", "pipeline_schedule": "1f1b", "seed": 1, "ffn": 32,
        "micro_batch_size": 1
    }
    return ["train", "--config", case.recipe(values), "--data", tokens, *sizes, *fixed]


JOB = """#!/bin/bash -l
#PBS -A biology
#PBS -q preemptable
#PBS -l select=4:system=polaris,place=scatter
#PBS -l walltime=0:30:00
#PBS -l filesystems=home:eagle
#PBS -J 0-9%5
#PBS -r y
cd "${PBS_O_WORKDIR:-/tmp}"
NNODES=$(sort -u "$PBS_NODEFILE" | wc -l) PPN=4
options=(--steps 9 --tp $((PPN / 2)))
run() { mpiexec -n $((NNODES * PPN)) --ppn "$PPN" --depth=8 --cpu-bind depth "$@"; }
for data in a.h5 b.h5; do
  if [ -f "${data%.h5}" ] || [[ $PPN -gt 4 && $data == *.h5 ]]; then continue; fi
  case $data in a*) layers=2 ;; *) layers=4 ;; esac
  OMP_NUM_THREADS=8 run weft train --data $data --out run "${options[@]}" --layers $layers
done
j=$(qsub -W depend=afterany:$PBS_JOBID next.pbs) || exit 1
cat <<END
$(not read)
END
"""


def lint(case):
    launch = pathlib.Path(__file__).parents[2] / "launch"
    (case.folder / "valid.txt").write_text(JOB)
    if case.rng.random() < 0.7:
        return ["lint", case.put(case.folder / "valid.txt", "job.pbs"), "--machine",
                str(launch / "polaris/machine.toml"),
                *(["--json"] if case.rng.random() < 0.5 else [])]
    return ["lint", "valid.txt", "--machine",
            case.put(launch / "polaris/machine.toml", "machine.toml")]


def report(case):
    """A run's log beside a whole one, as every form."""
    form = case.rng.choice([["--json"], *(["--format", f] for f in ("text", "md", "csv", "html"))])
    (case.folder / "job").mkdir()
    log = case.folder / "job" / "run.jsonl"
    log.write_bytes(case.mutant((case.f.folder / case.rng.choice(case.f.logs)).read_bytes(),
                                "jsonl"))
    other = [str(case.f.folder / "run")] if case.rng.random() < 0.7 else []
    return ["report", case.rng.choice(["job", "job/run.jsonl", "."]), *other, *form]


COMMANDS = {
    f.__name__: f for f in (generate, chat, score, classify, fill, embed, attention, neighbors,
                            info, convert, tokenize, data, tokenizer, train, lint, report)
}


def objection(code, stderr):
    """Why this is not how a run may end, or nothing."""
    if SANITIZER.search(stderr):
        return "a sanitizer's report"
    if code not in (0, 2):
        return f"exit {code}"
    if (words := FOREIGN.search(stderr)) is not None:
        return f"says '{words.group()}'"
    sentences = [line for line in stderr.splitlines() if line.startswith("weft: ")]
    if code == 2 and len(sentences) != 1:
        return f"{len(sentences)} sentences with exit 2"
    if code == 2 and len(sentences[0]) > 1500:
        return f"a sentence of {len(sentences[0])} characters"
    return ""


def one(fixtures, command, seed, limit, root, damaged=True):
    folder = root / f"{command}-{seed}{'' if damaged else '-whole'}"
    folder.mkdir()
    case = Case(fixtures, folder, random.Random(f"{command} {seed}"), damaged)
    args = COMMANDS[command](case)
    begin = time.monotonic()
    try:
        done = subprocess.run([os.fsencode(fixtures.weft), *map(os.fsencode, args)],
                              cwd=folder,
                              env=environment(),
                              input=case.stdin,
                              capture_output=True,
                              timeout=limit)
        code, stderr = done.returncode, done.stderr.decode("utf-8", "backslashreplace")
        why = objection(code, stderr)
        try:
            done.stderr.decode("utf-8")
        except UnicodeDecodeError:
            why = why or "stderr is not UTF-8"
    except subprocess.TimeoutExpired as late:
        code, stderr, why = None, (late.stderr or
                                   b"").decode("utf-8", "replace"), f"not done after {limit} s"
    return command, seed, args, code, stderr, why, time.monotonic() - begin, folder


def refuses_valid(pool, fixtures, commands, limit, root):
    """Damage tells nothing where the input is refused without it: of six whole ones, most must be
    read."""
    jobs = [
        pool.submit(one, fixtures, command, seed, limit, root, False)
        for command in commands
        for seed in range(6)
    ]
    refused = collections.defaultdict(list)
    for job in jobs:
        command, seed, args, code, stderr, *_ = job.result()
        if code != 0:
            refused[command].append(
                f"seed {seed}: exit {code}: weft {' '.join(args)}\n  {stderr[-500:]}")
    for command, runs in refused.items():
        if len(runs) > 2:
            sys.exit(f"{command} refuses inputs without damage:\n" + "\n".join(runs))


def runs_of(count):
    return sum(n for key, n in count.items() if key != "seconds")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--limit", type=float, default=60, help="seconds for one run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", help="folder that keeps the inputs of failing runs")
    o = parser.parse_args()
    begin, failures, totals = time.monotonic(), [], collections.defaultdict(collections.Counter)
    commands = o.only.split(",")
    with tempfile.TemporaryDirectory(
            prefix="weft_fuzz_") as temporary, concurrent.futures.ThreadPoolExecutor(
                o.jobs) as pool:
        root = pathlib.Path(temporary)
        (root / "valid").mkdir()
        (root / "runs").mkdir()
        fixtures = Fixtures(str(pathlib.Path(o.weft).resolve()), root / "valid")
        if o.seeds > 1:
            refuses_valid(pool, fixtures, commands, o.limit, root / "runs")
        jobs = [
            pool.submit(one, fixtures, command, seed, o.limit, root / "runs")
            for command in commands
            for seed in range(o.first, o.first + o.seeds)
        ]
        for job in concurrent.futures.as_completed(jobs):
            command, seed, args, code, stderr, why, seconds, folder = job.result()
            totals[command][code] += 1
            totals[command]["seconds"] += seconds
            if why:
                failures.append((command, seed))
                print(f"FAIL {command} seed {seed}: {why}\n  weft {' '.join(args)}\n  " +
                      "\n  ".join(stderr.splitlines()[:40]),
                      flush=True)
            if o.keep and (why or o.seeds == 1):
                shutil.copytree(folder, pathlib.Path(o.keep) / folder.name, dirs_exist_ok=True)
                if o.seeds == 1:
                    print(f"exit {code}\n{stderr}")
            shutil.rmtree(folder, ignore_errors=True)
    for command, count in totals.items():
        print(f"{command:10} {count[0]:5} read {count[2]:5} refused "
              f"{count['seconds'] / max(1, runs_of(count)):7.2f} s a run")
        if o.seeds >= 100 and count[2] < o.seeds // 20:
            failures.append((command, "the damage is not noticed"))
            print(f"FAIL {command}: only {count[2]} of {o.seeds} refused")
    print(f"{sum(runs_of(count) for count in totals.values())} runs in "
          f"{time.monotonic() - begin:.0f} s, {len(failures)} failures")
    for command, seed in failures:
        if isinstance(seed, int):
            print(f"  again: {sys.argv[0]} {o.weft} --only {command} --first {seed} --seeds 1 "
                  "--keep FOLDER")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
