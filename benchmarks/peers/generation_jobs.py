"""Jobs of prompts (a file in, a file out) beside transformers' batched generate(), an older weft,
llama.cpp's server (llama_cpp.py) and two replicas beside one, in one run by turns.

   python benchmarks/peers/generation_jobs.py build/weft [--old OTHER/weft] [--requests 1000]
       [--rounds 2] [--layers 4 --width 512] [--no-transformers] [--llama-cpp]
   python benchmarks/peers/generation_jobs.py build/weft --score-lines 1000000

Requests of 8 to 120 prompt tokens, each with its own 8 to 96 new ones (as JSON lines), greedy, by a
random GPT-2 of this size over the test tokenizer. transformers takes them in batches of 32 in their
order, padded on the left, each batch as long as its longest asks for; only the tokens that were
asked for count. Weft's time is the whole command's, loading and MPI's start included; transformers'
that of its calls of generate(). --score-lines: the largest resident size of a rank that scores so
many lines.
Needs torch and transformers but with --score-lines.
"""
import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
MPIEXEC = [os.path.join(ROOT, "launch", "mpiexec.sh"), "mpiexec"]
TOKENIZER = os.path.join(ROOT, "tests", "data", "tokenizer")


def make_model(folder, o):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(TOKENIZER, "tokenizer.json"))
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(n_layer=o.layers, n_embd=o.width, n_head=o.width // 64, n_positions=256,
                   vocab_size=len(tokenizer), eos_token_id=None, bos_token_id=None)).eval()
    model.save_pretrained(folder)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "left"
    return model, tokenizer


def make_requests(tokenizer, n):
    with open(os.path.join(TOKENIZER, "corpus.txt"), encoding="utf-8") as f:
        ids = tokenizer(f.read())["input_ids"]
    draw = random.Random(0)
    requests = []
    while len(requests) < n:
        length, begin = draw.randint(8, 120), draw.randrange(len(ids) - 120)
        text = tokenizer.decode(ids[begin:begin + length])
        requests.append({"text": text, "max_new_tokens": draw.randint(8, 96)})
    return requests


def run_weft(program, model, lines, folder, ranks, threads):
    out = os.path.join(folder, "o.jsonl")
    if os.path.exists(out):
        os.remove(out)
    command = [] if ranks == 1 else MPIEXEC + [str(ranks)]
    command += [program, "generate", "--model", model, "--tokenizer", TOKENIZER, "--in", lines,
                "--out", out, "--ignore-eos", "--threads", str(threads)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    with open(out, encoding="utf-8") as f:
        texts = [json.loads(line)["ids"] for line in f]
    return seconds, texts


def run_transformers(model, tokenizer, requests, threads):
    import torch
    torch.set_num_threads(threads)
    texts, seconds = [], 0.0
    for begin in range(0, len(requests), 32):
        batch = requests[begin:begin + 32]
        inputs = tokenizer([r["text"] for r in batch], return_tensors="pt", padding=True,
                           return_token_type_ids=False)
        most = max(r["max_new_tokens"] for r in batch)
        started = time.perf_counter()
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=most, do_sample=False, pad_token_id=0)
        seconds += time.perf_counter() - started
        for row, r in zip(made.tolist(), batch):
            new = row[inputs["input_ids"].shape[1]:]
            texts.append(new[:r["max_new_tokens"]])
    return seconds, texts


def compare(o):
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = make_model(os.path.join(folder, "model"), o)
        requests = make_requests(tokenizer, o.requests)
        lines = os.path.join(folder, "requests.jsonl")
        with open(lines, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in requests)
        new_tokens = sum(r["max_new_tokens"] for r in requests)
        path = os.path.join(folder, "model")
        sides = {"weft": lambda: run_weft(o.weft, path, lines, folder, 1, 2),
                 "weft dp 2": lambda: run_weft(o.weft, path, lines, folder, 2, 1)}
        if o.old:
            sides["old weft"] = lambda: run_weft(o.old, path, lines, folder, 1, 2)
        if o.llama_cpp:
            sides["llama.cpp"] = llama_cpp_side(folder, model, tokenizer, requests)
        if not o.no_transformers:
            sides["transformers"] = lambda: run_transformers(model, tokenizer, requests, 2)
        seconds, texts = {name: [] for name in sides}, {}
        for _ in range(o.rounds):
            for name, run in sides.items():
                taken, texts[name] = run()
                seconds[name].append(taken)
                print(f"{name:<14} {new_tokens / taken:>9.1f} new tokens/s", flush=True)
        ours = statistics.median(seconds["weft"])
        for name in list(sides)[1:]:
            equal = sum(a == b for a, b in zip(texts["weft"], texts[name]))
            ratio = statistics.median(seconds[name]) / ours
            print(f"weft beside {name}: {ratio:.2f} x its speed; "
                  f"{equal} of {o.requests} texts equal")


def llama_cpp_side(folder, model, tokenizer, requests):
    import llama_cpp
    path = os.path.join(folder, "model.gguf")
    llama_cpp.write_gpt2(path, model, tokenizer)
    side = llama_cpp.Llama(path, model.config.n_positions, 2)
    asked = [(tokenizer(r["text"])["input_ids"], r["max_new_tokens"]) for r in requests]
    return lambda: side.run(asked)


def score(o):
    with tempfile.TemporaryDirectory() as folder:
        lines, out = os.path.join(folder, "t.txt"), os.path.join(folder, "o.jsonl")
        with open(lines, "w", encoding="utf-8") as f:
            f.writelines(f"the little people {i}\n" for i in range(o.score_lines))
        started = time.perf_counter()
        subprocess.run([o.weft, "score", "--model", os.path.join(ROOT, "tests/data/gpt2_h5"),
                        "--tokenizer", TOKENIZER, "--in", lines, "--out", out], check=True)
        seconds = time.perf_counter() - started
        with open(out, encoding="utf-8") as f:
            n = sum(1 for _ in f)
        megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{n} lines in {seconds:.0f} s; a rank's largest resident size: {megabytes:.0f} MiB")


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weft")
    p.add_argument("--old")
    p.add_argument("--requests", type=int, default=1000)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--no-transformers", action="store_true")
    p.add_argument("--llama-cpp", action="store_true")
    p.add_argument("--score-lines", type=int)
    o = p.parse_args()
    if o.score_lines:
        score(o)
    else:
        compare(o)


if __name__ == "__main__":
    main()
