"""The lines of weft_gpu_bench and weft bench as tables, beside those of attention_peer.py and
step_peer.py.
   python3 result_table.py kernels.jsonl runs.jsonl"""
import json
import sys


def read(lines):
    """Those that are whole; a time limit may have cut one."""
    for line in lines:
        try:
            j = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(j, dict):
            yield j


def beside(ours, peers):
    """Our rate over each peer's: {attention: rate} of one case."""
    return ", ".join(f"{ours / theirs:.2f} {name}" for name, theirs in peers.items())


def kernel_rows(lines):
    """({peak: rate}, [(case, ms, share, bound, speed over PyTorch's)])."""
    peaks, ours, peers = {}, [], {}
    for j in lines:
        if "peer" in j:
            peers.setdefault(j["case"], {})[j["attention"]] = 1 / j["ms"]
        elif "share" in j:
            ours.append(j)
        else:
            peaks[j["case"]] = 1e9 * j["gb_per_s"] if "gb_per_s" in j else 1e12 * j["tflop_per_s"]
    return peaks, [(j["case"], j["ms"], j["share"], j["bound"],
                    beside(1 / j["ms"], peers.get(j["case"], {}))) for j in ours]


def run_rows(lines, peaks):
    """[(shape and name, tokens/s, share, of, speed over PyTorch's)]; shares of the same peaks as
    the kernels', where those were measured."""
    ours, peers = [], {}
    for j in lines:
        key = f"{j['shape']} {j['name']}"
        if "peer" in j:
            peers.setdefault(key, {})[j["attention"]] = j["value"]
        else:
            ours.append((key, j))
    for key, j in ours:
        shares = [(j[rate] / peaks[peak], word)
                  for rate, peak, word in (("flops", "cuBLAS bf16 8192x8192x8192", "bf16 matmul"),
                                           ("bytes_per_s", "copy bandwidth", "copy bandwidth"))
                  if rate in j and peak in peaks]
        share, of = max(shares, default=(None, ""))
        yield key, j["value"], share, of, beside(j["value"], peers.get(key, {}))


def print_table(head, rows):
    width = max([len(r[0]) for r in rows] + [len(head[0])])
    print(f"\n{head[0]:{width}} {head[1]:>9s}  share  of              times PyTorch's speed")
    for name, value, share, of, peers in rows:
        percent = "" if share is None else f"{100 * share:.0f} %"
        print(f"{name:{width}} {value:9.{head[2]}f}  {percent:>5s}  {of:15s} {peers}".rstrip())


def main():
    with open(sys.argv[1]) as f:
        peaks, kernels = kernel_rows(read(f))
    with open(sys.argv[2]) as f:
        runs = list(run_rows(read(f), peaks))
    for name, rate in peaks.items():
        print(f"{name}: " + (f"{1e-12 * rate:.1f} TFLOP/s" if name.startswith("cuBLAS") else
                             f"{1e-9 * rate:.0f} GB/s"))
    print_table(("case", "ms", 3), kernels)
    print_table(("run", "tok/s", 0), runs)


if __name__ == "__main__":
    main()
