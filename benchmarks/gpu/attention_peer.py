"""PyTorch's scaled_dot_product_attention with its flash back end and with cuDNN's, on the shapes of
weft_gpu_bench: one JSON line a case and back end, under its name there.
   python3 attention_peer.py            on a GPU
   python3 attention_peer.py --list     the names only, without torch
"""
import argparse
import datetime
import itertools
import json
import statistics
import sys

BACK_ENDS = {"flash": "FLASH_ATTENTION", "cuDNN": "CUDNN_ATTENTION"}
# B, T, H, Hkv, D, causal; bf16, which is what these back ends take. Windows, soft caps and dropout
# masks have no equal there.
SHAPES = [(4, 2048, 32, 32, 128, True), (4, 2048, 32, 32, 64, True), (4, 2048, 32, 32, 256, True),
          (4, 2048, 32, 8, 128, True), (4, 2048, 32, 32, 128, False)]
REPEATS = 25


def name_of(op, shape):
    B, T, H, Hkv, D, causal = shape
    return f"{op} bf16 B{B} T{T} H{H} Hkv{Hkv} D{D}" + (" causal" if causal else "")


def median_ms(torch, body, sets):
    for s in sets + sets:
        body(s)
    times = []
    for i in range(REPEATS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        body(sets[i % len(sets)])
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def measure(torch, shape, back_end):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    if back_end not in SDPBackend.__members__:
        raise RuntimeError(f"this PyTorch has no {back_end}")
    B, T, H, Hkv, D, causal = shape

    def tensors():
        q, k, v = (torch.randn(B, T, h, D, device="cuda",
                               dtype=torch.bfloat16).transpose(1, 2).requires_grad_()
                   for h in (H, Hkv, Hkv))
        return q, k, v, torch.randn(B, T, H, D, device="cuda", dtype=torch.bfloat16).transpose(1, 2)

    def forward(s):
        return torch.nn.functional.scaled_dot_product_attention(s[0],
                                                                s[1],
                                                                s[2],
                                                                is_causal=causal,
                                                                enable_gqa=Hkv != H)

    with sdpa_kernel(SDPBackend.__members__[back_end]):
        sets = [tensors() for _ in range(2)]  # each beyond an L2
        with torch.no_grad():
            yield name_of("attention", shape), median_ms(torch, forward, sets)
        graphs = [(forward(s), s) for s in sets]

        def backward(graph):
            out, (q, k, v, dout) = graph
            torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)

        yield name_of("attention_backward", shape), median_ms(torch, backward, graphs)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    if parser.parse_args().list:
        for shape in SHAPES:
            print(name_of("attention", shape), name_of("attention_backward", shape), sep="\n")
        return 0
    try:
        import torch
    except ImportError:
        print("attention_peer.py: this python3 has no torch", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print("attention_peer.py: torch sees no GPU", file=sys.stderr)
        return 2
    torch.manual_seed(1)
    for shape, (attention, back_end) in itertools.product(SHAPES, BACK_ENDS.items()):
        try:
            for case, ms in measure(torch, shape, back_end):
                B, T, H, _, D, causal = shape
                pairs = B * H * T * ((T + 1) / 2 if causal else T)
                flops = (4 if case.startswith("attention ") else 10) * pairs * D
                print(json.dumps({
                    "case": case, "peer": f"PyTorch {torch.__version__} {attention}",
                    "attention": attention, "ms": ms, "tflop_per_s": flops / ms * 1e-9,
                    "gpu": torch.cuda.get_device_name(), "date": datetime.date.today().isoformat()
                }),
                      flush=True)
        except RuntimeError as error:  # a shape that this PyTorch's back end does not take
            print(f"attention_peer.py: {shape}, {attention}: {str(error).splitlines()[0]}",
                  file=sys.stderr)
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
