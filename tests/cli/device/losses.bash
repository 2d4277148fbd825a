# What runs on a GPU are compared with the CPU's by.
# shellcheck shell=bash

# losses FILE: of its steps and evaluations, with the gradient norms.
losses() {
  python3 - "$1" <<'PY'
import json, sys
for line in map(json.loads, open(sys.argv[1])):
    if line["event"] in ("step", "eval"):
        print(line["event"], line["loss"], line.get("grad_norm"))
PY
}

# near BOUND A B: the same words, and numbers that differ by at most that share of theirs, where
# activations are bf16; but not all of them the same.
near() {
  python3 - "$@" <<'PY'
import sys
bound, a, b = float(sys.argv[1]), *(open(f).read().split() for f in sys.argv[2:])
def numbers(words):
    return [float(w) for w in words if w[-1].isdigit()]
assert a and len(a) == len(b), (a, b)
x, y = numbers(a), numbers(b)
worst = max(abs(p - q) / max(abs(p), 1e-9) for p, q in zip(x, y, strict=True))
assert 0 < worst < bound, (worst, x, y)
PY
}
