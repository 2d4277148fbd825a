"""What --deterministic costs, in one run by turns:

   python3 benchmarks/deterministic.py build/weft [--rounds 5] [--threads N]

GPT-2 in small (124M) on random weights: decoding 1, 8 and 32 sequences, their prompts, and scoring,
each with and without --deterministic. Prints the ratio of the medians; where a side scatters by
more than 15 % (peers/rounds.py), says so beside it.
"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
import rounds  # noqa: E402

CASES = [["generate", "--sequences", n, "--prompt-tokens", "64", "--new-tokens", "32"]
         for n in ("1", "8", "32")] + [["score", "--sequences", "8", "--prompt-tokens", "256"]]


def rates(o, options):
    command = [o.weft, "bench"] + options + ["--repeats", "2", "--threads", o.threads, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["value"] for line in lines if line.get("unit") == "tok/s"}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="0")
    o = parser.parse_args()
    for case in CASES:
        fixed, plain = rounds.alternate(lambda: rates(o, case + ["--deterministic"]),
                                        lambda: rates(o, case), o.rounds, o.rounds)
        for name, values in fixed.items():
            said = rounds.verdict(values, plain[name])
            scatter = max(said["weft_scatter"], said["peer_scatter"])
            ratio = said["weft"] / said["peer_value"]
            print(f"{name:<40} {ratio:.3f} of the speed without"
                  + (f" (scatters by {100 * scatter:.0f} %)" if said["ratio"] is None else ""),
                  flush=True)


if __name__ == "__main__":
    main()
