"""Weft beside its peers in one run, in turn, so that the ratios hold whatever the machine does that day.
   python benchmarks/peers/compare.py build/weft [--rounds 2] [--out benchmarks/results/<machine>/cpu.jsonl] [--only step|generate|grid]
Each case runs `weft bench` and torch_gpt2.py by turns; the medians over the rounds and their ratio are printed and appended as JSON lines.
The grid cases compare two ranks of one thread with one rank of two threads.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MPIEXEC = [os.path.join(HERE, "..", "..", "tests", "mpiexec.sh"), "mpiexec"]

STEP = [["--batch-size", "4", "--context", "256"], ["--batch-size", "1", "--context", "1024"]]
SMALL = ["--layers", "4", "--width", "256", "--heads", "4", "--vocab", "4096", "--batch-size", "16", "--context", "64"]
GENERATE = [["--sequences", "1"], ["--sequences", "8"], ["--sequences", "32"], ["--sequences", "1", "--prompt-tokens", "512", "--new-tokens", "4"]]


def cases():
    for dtype in ("fp32", "bf16"):
        for sizes in STEP + [SMALL]:
            yield "step", sizes + ["--dtype", dtype, "--repeats", "3"]
        for sizes in GENERATE:
            yield "generate", sizes + ["--dtype", dtype, "--repeats", "3"]


def grid_cases():
    sizes = ["--batch-size", "8", "--context", "128", "--repeats", "3"]
    for name, flags in {"tp 2": ["--tp", "2"], "dp 2": ["--dp", "2"], "pp 2": ["--pp", "2"]}.items():
        yield name, sizes, flags


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def emit(out, line):
    print(f"{line['name']:<44} weft {line['weft']:>9.1f}  {line['peer']:<40} {line['peer_value']:>9.1f} tok/s  ratio {line['ratio']:.2f}  share {line['share']:.2f} of {line['of']}", flush=True)
    if out:
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")


def compare(out, rounds, name, weft_command, peer_command, peer_name=None):
    ours, theirs = {}, {}
    for _ in range(rounds):
        for store, command in ((ours, weft_command), (theirs, peer_command)):
            for line in run(command):
                store.setdefault(line["name"], []).append(line)
    for key, lines in ours.items():
        weft, peer = (statistics.median(line["value"] for line in side[key]) for side in (ours, theirs))
        shown = lines[-1]
        emit(out, {"date": datetime.date.today().isoformat(), "name": f"{name}{key}", "weft": weft, "peer": peer_name or theirs[key][-1]["peer"], "peer_value": peer, "unit": "tok/s",
                   "ratio": weft / peer, "share": statistics.median(line["share"] for line in lines), "of": shown["of"], "cpu": shown["cpu"],
                   "command": "weft " + " ".join(weft_command[weft_command.index("bench"):]),
                   **{k: shown[k] for k in ("shares", "computed_bubble", "planned_bytes", "resident_bytes") if k in shown}})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out")
    parser.add_argument("--only", choices=["step", "generate", "grid"])
    parser.add_argument("--dtype", choices=["fp32", "bf16"])
    args = parser.parse_args()
    for what, flags in cases():
        if args.only in (None, what) and args.dtype in (None, flags[flags.index("--dtype") + 1]):
            peer = [sys.executable, os.path.join(HERE, "torch_gpt2.py"), what] + flags
            compare(args.out, args.rounds, "", [args.weft, "bench", what, "--json", "--threads", "2"] + flags, peer)
    if args.only in (None, "grid"):
        for name, sizes, flags in grid_cases():
            one = [args.weft, "bench", "step", "--json", "--threads", "2"] + sizes
            compare(args.out, args.rounds, name + ": ", MPIEXEC + ["2", args.weft, "bench", "step", "--json", "--threads", "1"] + sizes + flags, one, "weft, one rank of two threads")


if __name__ == "__main__":
    main()
