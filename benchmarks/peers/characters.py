"""The character model of launch/recipes/characters.toml, trained by Weft and by PyTorch in turn on
the same tokens: the seconds of the training steps, and the loss over all of the validation part.

   python benchmarks/peers/characters.py build/weft tokens.h5 [--rounds 3] [--most-rounds 5]
       [--steps 2000] [--dtype bf16|fp32] [--out benchmarks/results/MACHINE/cpu.jsonl]

The recipe's head says how tokens.h5 is made. Rounds are as in rounds.py; the ratio is one of
seconds, Weft's over PyTorch's. Exit 1 where the losses differ by more than 1 %. Needs a Python with
torch and h5py.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

import rounds

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPE = os.path.join(HERE, "..", "..", "launch", "recipes", "characters.toml")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def train_weft(args):
    with tempfile.TemporaryDirectory() as out:
        run([
            args.weft, "train", "--config", RECIPE, "--data", args.data, "--out", out, "--steps",
            str(args.steps), "--threads", str(args.threads), "--dtype", args.dtype,
            "--eval-every", "0", "--eval-samples", "0"
        ])
        with open(os.path.join(out, "run.jsonl")) as file:
            lines = [json.loads(line) for line in file]
    start = lines[0]
    return {
        "seconds": sum(line["step_s"] for line in lines if line["event"] == "step"),
        "loss": [line["loss"] for line in lines if line["event"] == "eval"][-1],
        "share": statistics.median(l["peak_share"] for l in lines if l["event"] == "step"),
        "commit": start["commit"], "cpu": start["cpu"]
    }


def train_peer(args):
    return json.loads(
        run([
            sys.executable, os.path.join(HERE, "torch_characters.py"), args.data, "--steps",
            str(args.steps), "--threads", str(args.threads)
        ]))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3, help="at least")
    parser.add_argument("--most-rounds", type=int, default=5, help="where they scatter")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--out")
    args = parser.parse_args()
    kept = {"weft": [], "peer": []}

    def measure(side, train):
        kept[side].append(train(args))
        return {"seconds": kept[side][-1]["seconds"]}

    ours, theirs = rounds.alternate(lambda: measure("weft", train_weft),
                                    lambda: measure("peer", train_peer), args.rounds,
                                    max(args.rounds, args.most_rounds))
    weft, peer = kept["weft"][-1], kept["peer"][-1]
    line = {
        "date": datetime.date.today().isoformat(),
        "name": f"characters, {args.steps} steps, {args.dtype}", "peer": peer["peer"], "unit": "s",
        **rounds.verdict(ours["seconds"], theirs["seconds"]), "weft_loss": weft["loss"],
        "peer_loss": peer["loss"], "share": weft["share"], "of": f"{args.dtype} matmul",
        "cpu": weft["cpu"], "commit": weft["commit"]
    }
    print(json.dumps(line))
    if args.out:
        os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
        with open(args.out, "a") as file:
            file.write(json.dumps(line) + "\n")
    if abs(weft["loss"] / peer["loss"] - 1) > 0.01:
        sys.exit(f"the losses differ by more than 1 %: {weft['loss']:.4f}, {peer['loss']:.4f}")


if __name__ == "__main__":
    main()
