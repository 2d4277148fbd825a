"""Weft beside its peers in one run, in turn, so that the ratios hold whatever the machine does.

   python benchmarks/peers/compare.py build/weft [--rounds 3] [--most-rounds 9] [--minutes 10]
       [--only step|generate|grid] [--dtype fp32|bf16] [--out benchmarks/results/MACHINE/cpu.jsonl]

Each case runs `weft bench` and torch_gpt2.py by turns, more rounds where they scatter (rounds.py);
medians and their ratio are printed and appended as JSON lines. Where a side scatters by more than
15 % to the end, that is printed instead of a ratio. The grid cases compare two ranks of one thread
with one rank of two threads. After --minutes no further case is begun; those left are named.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time

import rounds

HERE = os.path.dirname(os.path.abspath(__file__))
MPIEXEC = [os.path.join(HERE, "..", "..", "launch", "mpiexec.sh"), "mpiexec"]

STEP = [["--batch-size", "4", "--context", "256"], ["--batch-size", "1", "--context", "1024"]]
SMALL = [
    "--layers", "4", "--width", "256", "--heads", "4", "--vocab", "4096", "--batch-size", "16",
    "--context", "64"
]
GENERATE = [["--sequences", "1"], ["--sequences", "8"], ["--sequences", "32"],
            ["--sequences", "1", "--prompt-tokens", "512", "--new-tokens", "4"]]


def cases():
    for dtype in ("fp32", "bf16"):
        for sizes in STEP + [SMALL]:
            yield "step", sizes + ["--dtype", dtype, "--repeats", "3"]
        for sizes in GENERATE:
            yield "generate", sizes + ["--dtype", dtype, "--repeats", "3"]


def grid_cases():
    sizes = ["--batch-size", "8", "--context", "128", "--repeats", "3"]
    for axis in ("tp", "dp", "pp"):
        yield f"{axis} 2", sizes, [f"--{axis}", "2"]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def emit(out, line):
    said = (f"ratio {line['ratio']:.2f}" if line["ratio"] is not None else
            f"scatters: weft by {100 * line['weft_scatter']:.0f} %, "
            f"peer by {100 * line['peer_scatter']:.0f} %")
    print(
        f"{line['name']:<44} weft {line['weft']:>9.1f}  "
        f"{line['peer']:<40} {line['peer_value']:>9.1f} tok/s  {said}  "
        f"share {line['share']:.2f} of {line['of']}  ({line['rounds']} rounds)",
        flush=True)
    if out:
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")


def line_of(name, verdict, peer, lines):
    """A result line: rounds.verdict's words, and what weft's own rounds say besides."""
    shown = lines[-1]
    kept = ("of", "peak_rate", "cpu", "commit", "command", "mfu", "shares", "computed_bubble",
            "planned_bytes", "resident_bytes")
    return {
        "date": datetime.date.today().isoformat(), "name": name, "peer": peer, "unit": "tok/s",
        **verdict, "share": statistics.median(line["share"] for line in lines),
        **{k: shown[k] for k in kept if k in shown}
    }


def compare(args, name, weft_command, peer_command, peer_name=None):
    kept = {"weft": {}, "peer": {}}

    def measure(side, command):
        values = {}
        for line in run(command):
            kept[side].setdefault(line["name"], []).append(line)
            values[line["name"]] = line["value"]
        return values

    ours, theirs = rounds.alternate(lambda: measure("weft", weft_command),
                                    lambda: measure("peer", peer_command), args.rounds,
                                    args.most_rounds)
    for key, values in ours.items():
        peer = peer_name or kept["peer"][key][-1]["peer"]
        emit(args.out,
             line_of(name + key, rounds.verdict(values, theirs[key]), peer, kept["weft"][key]))


def all_cases(args):
    """Each as (what to call it, the arguments of compare behind `args`)."""
    for what, flags in cases():
        if args.only in (None, what) and args.dtype in (None, flags[flags.index("--dtype") + 1]):
            peer = [sys.executable, os.path.join(HERE, "torch_gpt2.py"), what] + flags
            yield f"{what} {' '.join(flags)}", (
                "", [args.weft, "bench", what, "--json", "--threads", "2"] + flags, peer)
    if args.only in (None, "grid"):
        for name, sizes, flags in grid_cases():
            one = [args.weft, "bench", "step", "--json", "--threads", "2"] + sizes
            two = MPIEXEC + ["2", args.weft, "bench", "step", "--json", "--threads", "1"
                            ] + sizes + flags
            yield name, (name + ": ", two, one, "weft, one rank of two threads")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=3, help="at least")
    parser.add_argument("--most-rounds", type=int, default=9, help="where they scatter")
    parser.add_argument("--minutes",
                        type=float,
                        default=float("inf"),
                        help="after which no further case is begun")
    parser.add_argument("--out")
    parser.add_argument("--only", choices=["step", "generate", "grid"])
    parser.add_argument("--dtype", choices=["fp32", "bf16"])
    args = parser.parse_args()
    args.most_rounds = max(args.rounds, args.most_rounds)
    end = time.monotonic() + 60 * args.minutes
    for name, case in all_cases(args):
        if time.monotonic() >= end:
            print(f"left out, no time: {name}", flush=True)
        else:
            compare(args, *case)


if __name__ == "__main__":
    main()
