"""The lines of weft_gpu_bench and attention_peer.py as a table.
   python3 result_table.py kernels.jsonl"""
import json
import sys


def rows(lines):
    """(peaks, [(case, ms, share, bound, our time over the peer's or None)]); lines that are not
    whole are left out."""
    peaks, ours, peers = [], [], {}
    for line in lines:
        try:
            j = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "peer" in j:
            peers[j["case"]] = j["ms"]
        elif "share" in j:
            ours.append(j)
        else:
            peaks.append(f"{j['case']}: " + (f"{j['gb_per_s']:.0f} GB/s" if "gb_per_s" in
                                             j else f"{j['tflop_per_s']:.1f} TFLOP/s"))
    return peaks, [(j["case"], j["ms"], j["share"], j["bound"],
                    j["ms"] / peers[j["case"]] if j["case"] in peers else None) for j in ours]


def main():
    with open(sys.argv[1]) as f:
        peaks, table = rows(f)
    print("\n".join(peaks))
    width = max((len(r[0]) for r in table), default=0)
    print(f"{'case':{width}}       ms   share  of              ours / PyTorch")
    for case, ms, share, bound, ratio in table:
        print(f"{case:{width}} {ms:8.3f}  {100 * share:4.0f} %  {bound:15s} "
              f"{'' if ratio is None else f'{ratio:.2f}'}")


if __name__ == "__main__":
    main()
