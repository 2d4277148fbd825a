#!/usr/bin/env python3
"""What a training step would take on an A100-40GB as the kernels are expected to run: the launches
of weft_step_launches, each at the larger of its bytes over the card's bandwidth and its FLOPs over
its peak, by the efficiencies below. No GPU has measured these.
   benchmarks/step_roofline.py build-emulated/weft_step_launches            the table on stdout
   benchmarks/step_roofline.py build-emulated/weft_step_launches --write    into kernels/README.md
A step is linear in its layers: it is asked for one layer and for two.
"""
import argparse
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- step roofline -->", "<!-- end of the step roofline -->"
BYTES_PER_S, BF16, FP32 = 1555e9, 312e12, 19.5e12
SHAPES = {
    "gpt2-124m": ("GPT-2 124M", 8, 1024), "gpt2-1.5b": ("GPT-2 1.5B", 8, 1024),
    "llama-3.2-1b": ("Llama-3.2-1B", 2, 2048)
}

# kind: (pattern of the kernel's name, share of its bound, share with the redesigns R1, R3, R5 of
# the review). Shares of the review's section 2, for the A100; attention's are of the bf16 peak by
# its useful FLOPs, and depend on the head dim.
KINDS = {
    "products": (r"^cuBLASLt$", 0.75, 0.75),
    "attention forward": (r"attention_kernel", None, None),
    "attention backward": (r"attention_backward", None, None),
    "norms": (r"norm", 0.84, 0.92),
    "activation": (r"activation|gelu", 0.90, 0.95),
    "cross-entropy": (r"cross_entropy", 0.87, 0.93),
    "optimizer": (r"adamw|square_chunks|sum_chunks|clip_scale", 0.92, 0.92),
    "the rest": (r"", 0.85, 0.85),
}
NORM_BACKWARD = 0.70
# (head dim: TFLOP/s forward, backward, backward after R1)
ATTENTION = {64: (125e12, 84e12, 1.6 * 84e12), 128: (165e12, 105e12, 1.6 * 105e12)}
USEFUL = {"attention forward": 4, "attention backward": 10}  # FLOPs a pair and dim


def kind_of(kernel):
    return next(kind for kind, (pattern, *_) in KINDS.items() if re.search(pattern, kernel))


def launches(program, shape, layers, batch, context):
    """({kernel: {launches, bytes, flops}}, the step's own line)"""
    lines = [
        json.loads(line) for line in subprocess.run(
            [program, "--shape", shape, "--layers", str(layers), "--batch", str(batch),
             "--context", str(context)], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()
    ]
    return {line["kernel"]: line for line in lines[:-1]}, lines[-1]


def of_all_layers(program, shape, layers, batch, context):
    one, first = launches(program, shape, 1, batch, context)
    two, second = launches(program, shape, 2, batch, context)

    def grown(a, b):
        return a + (layers - 1) * (b - a)

    none = {"launches": 0, "bytes": 0, "flops": 0}
    kernels = {
        name: {
            key: grown(one.get(name, none)[key], two[name][key]) for key in none
        } for name in two
    }
    step = {
        key: grown(value, second[key]) if key in ("flops", "attention_pairs", "parameters",
                                                  "customary_flops") else value
        for key, value in first.items()
    }
    return kernels, step


def seconds(kernels, step, after):
    """{kind: seconds}"""
    out = {}
    for name, work in kernels.items():
        kind = kind_of(name)
        _, now, then = KINDS[kind]
        if kind in USEFUL:
            continue
        share = then if after else now
        if kind == "norms" and "backward" in name and not after:
            share = NORM_BACKWARD
        peak = BF16 if kind == "products" else FP32
        bound = max(work["bytes"] / BYTES_PER_S, work["flops"] / peak)
        out[kind] = out.get(kind, 0) + bound / share
    forward, backward, redesigned = ATTENTION[step["head_dim"]]
    for kind, rate in (("attention forward", forward), ("attention backward",
                                                        redesigned if after else backward)):
        out[kind] = USEFUL[kind] * step["head_dim"] * step["attention_pairs"] / rate
    return out


def table(program, layers_of):
    rows = [
        "| | " + " | ".join(SHAPES[s][0] for s in SHAPES) + " |",
        "| --- |" + " ---: |" * len(SHAPES)
    ]
    columns = []
    for shape, (_, batch, context) in SHAPES.items():
        kernels, step = of_all_layers(program, shape, layers_of[shape], batch, context)
        columns.append((kernels, step, seconds(kernels, step, False), seconds(kernels, step, True)))

    def row(name, value):
        rows.append(f"| {name} | " + " | ".join(value(*c) for c in columns) + " |")

    row("tokens a step", lambda k, s, n, t: f"{s['tokens']}")
    row("TFLOP", lambda k, s, n, t: f"{s['flops'] / 1e12:.2f}")
    row("launches", lambda k, s, n, t: f"{sum(w['launches'] for w in k.values())}")
    row("GB", lambda k, s, n, t: f"{sum(w['bytes'] for w in k.values()) / 1e9:.1f}")
    for kind in KINDS:
        row(f"{kind}, ms", lambda k, s, n, t: f"{1e3 * n.get(kind, 0):.1f}")
    row("**step, ms**", lambda k, s, n, t: f"**{1e3 * sum(n.values()):.1f}**")
    row("share of products", lambda k, s, n, t: f"{100 * n['products'] / sum(n.values()):.0f} %")
    row("customary MFU",
        lambda k, s, n, t: f"{100 * s['customary_flops'] / BF16 / sum(n.values()):.0f} %")
    row("with R1, R3 and R5, ms", lambda k, s, n, t: f"{1e3 * sum(t.values()):.1f}")
    row("customary MFU then",
        lambda k, s, n, t: f"{100 * s['customary_flops'] / BF16 / sum(t.values()):.0f} %")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    text = table(args.program, {"gpt2-124m": 12, "gpt2-1.5b": 48, "llama-3.2-1b": 16})
    if not args.write:
        print(text)
        return
    readme = ROOT / "kernels/README.md"
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
