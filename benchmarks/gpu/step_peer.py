"""A training step, prefill and decoding in plain PyTorch on a GPU, as `weft bench step` and `weft
bench generate` run them: torch.compile, bf16 autocast and fused AdamW in training, bf16 weights and
a static KV cache, one CUDA graph a token, in decoding. Of scaled_dot_product_attention's back ends
flash and cuDNN are measured apart. Runs come as lines on stdin, SHAPE WHAT ARGUMENTS, where SHAPE
is a folder with a config.json in SHAPES. One JSON line a measurement, under weft's name.
   echo gpt2-124m step --batch-size 16 --context 1024 | python3 step_peer.py SHAPES
   … python3 step_peer.py SHAPES --list        the names only, without torch
   … python3 step_peer.py SHAPES --device cpu  whether it runs
"""
import argparse
import datetime
import gc
import json
import pathlib
import statistics
import sys
import time

BACK_ENDS = {"flash": "FLASH_ATTENTION", "cuDNN": "CUDNN_ATTENTION"}


def runs_of(lines):
    parser = argparse.ArgumentParser(prog="a run")
    parser.add_argument("shape")
    parser.add_argument("what", choices=["step", "generate"])
    for name, default in dict(batch_size=1, context=1024, prompt_tokens=16, new_tokens=64).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    return [parser.parse_args(line.split()) for line in lines if line.strip()]


def step_name(run):
    return f"train step, {run.batch_size} x {run.context} tokens, bf16"


def prefill_name(run):
    return f"prefill, 1 x {run.prompt_tokens} tokens, bf16"


DECODE_NAME = "decode, 1 sequences, bf16"


def names_of(run):
    return [step_name(run)] if run.what == "step" else [prefill_name(run), DECODE_NAME]


class Peer:

    def __init__(self, torch, args):
        self.torch, self.device, self.repeats = torch, args.device, args.repeats
        self.shapes = args.shapes

    def model(self, run):
        import peer_model
        config = json.loads((self.shapes / run.shape / "config.json").read_text())
        self.torch.manual_seed(0)
        with self.torch.device(self.device):
            return peer_model.Model(peer_model.Sizes(config))

    def ids(self, model, shape):
        return self.torch.randint(model.sizes.vocab, shape, device=self.device)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def seconds(self, body):
        self.wait()
        start = time.perf_counter()
        body()
        self.wait()
        return time.perf_counter() - start

    # Compiled where that works here (it needs Triton and a C compiler); says which.
    def compiled(self, function, try_out):
        try:
            fast = self.torch.compile(function, dynamic=False)
            try_out(fast)
            return fast, "compiled"
        except Exception as error:  # whatever a compiler throws
            lines = str(error).strip().splitlines() or [type(error).__name__]
            print(f"step_peer.py: not compiled: {lines[0]}", file=sys.stderr)
            try_out(function)
            return function, "eager"

    def median(self, body):
        body()
        return statistics.median(self.seconds(body) for _ in range(self.repeats))

    def step(self, run, attention):
        torch = self.torch
        model = self.model(run)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
        ids = self.ids(model, (run.batch_size, run.context + 1))
        at = torch.arange(run.context, device=self.device)

        def loss_of(ids, labels):
            with torch.autocast(self.device, dtype=torch.bfloat16):
                return model.loss(ids, labels, at)

        def one(loss_of):
            loss = loss_of(ids[:, :-1], ids[:, 1:].contiguous())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss.item()

        loss_of, how = self.compiled(loss_of, one)
        seconds = self.median(lambda: one(loss_of))
        yield step_name(run), f"{how}, {attention}", run.batch_size * run.context / seconds, seconds

    def prefill(self, run, attention):
        torch = self.torch
        model = self.model(run).to(torch.bfloat16).eval()
        caches = model.caches(1, run.prompt_tokens + run.new_tokens + 1)
        ids = self.ids(model, (1, run.prompt_tokens))
        at = torch.arange(run.prompt_tokens, device=self.device)
        forward, how = self.compiled(lambda: model(ids, at, caches, last=True), lambda f: f())
        seconds = self.median(lambda: forward().argmax().item())
        yield prefill_name(run), f"{how}, {attention}", run.prompt_tokens / seconds, seconds

    # Attention over the cache is the back end's that PyTorch chooses for a mask.
    def decode(self, run):
        torch = self.torch
        model = self.model(run).to(torch.bfloat16).eval()
        caches = model.caches(1, run.prompt_tokens + run.new_tokens + 1)
        token = self.ids(model, (1, 1))
        at = torch.tensor([run.prompt_tokens], device=self.device)

        forward, how = self.compiled(lambda: model(token, at, caches), lambda f: [f(), f(), f()])

        def one():
            token.copy_(forward().argmax(-1))
            at.add_(1)

        replay = one
        if self.device == "cuda":
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                one()
            replay = graph.replay

        def all_tokens():
            at.fill_(run.prompt_tokens)
            for _ in range(run.new_tokens):
                replay()
            return token.item()

        seconds = self.median(all_tokens) / run.new_tokens
        graphed = ", CUDA graph" if self.device == "cuda" else ""
        yield DECODE_NAME, f"{how}, static cache{graphed}", 1 / seconds, seconds

    # (name, (attention, a generator of measurements)) of every case, the most telling ones first.
    def cases(self, runs):
        for attention in BACK_ENDS:
            for run in runs:
                if run.what == "step":
                    yield run, attention, lambda r=run, a=attention: self.step(r, a)
                else:
                    yield run, attention, lambda r=run, a=attention: self.prefill(r, a)
                    if attention == "flash":
                        yield run, "", lambda r=run: self.decode(r)


def measure(torch, args, runs):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    peer = Peer(torch, args)
    end = time.monotonic() + args.seconds
    for run, attention, case in peer.cases(runs):
        what = f"{run.shape} {run.what} {attention}".strip()
        if time.monotonic() > end:
            print(f"step_peer.py: not measured, {args.seconds:g} s have passed: {what}",
                  file=sys.stderr)
            continue
        chosen = getattr(SDPBackend, BACK_ENDS[attention], None) if attention else list(
            SDPBackend.__members__.values())[1:]
        if chosen is None:
            print(f"step_peer.py: this PyTorch has no {attention} attention", file=sys.stderr)
            continue
        grads = torch.enable_grad() if run.what == "step" else torch.no_grad()
        try:
            with sdpa_kernel(chosen), grads:
                for name, how, value, seconds in case():
                    print(json.dumps({
                        "bench": run.what, "shape": run.shape, "name": name, "value": value,
                        "unit": "tok/s", "seconds": seconds,
                        "peer": f"PyTorch {torch.__version__}, {how}",
                        "attention": attention or "static cache", "device": args.device,
                        "gpu": torch.cuda.get_device_name() if args.device == "cuda" else None,
                        "date": datetime.date.today().isoformat()
                    }),
                          flush=True)
        except Exception as error:  # what this PyTorch or this GPU cannot do
            lines = str(error).strip().splitlines() or [type(error).__name__]
            print(f"step_peer.py: {what}: {lines[0]}", file=sys.stderr)
        torch.compiler.reset()
        gc.collect()
        if args.device == "cuda":
            torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", type=pathlib.Path, help="folder of the shapes' folders")
    parser.add_argument("--list", action="store_true", help="print the names of the runs and stop")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after so many")
    args = parser.parse_args()
    runs = runs_of(sys.stdin)
    if args.list:
        for run in runs:
            for name in names_of(run):
                print(run.shape, name)
        return 0
    try:
        import torch
    except ImportError:
        print("step_peer.py: this python3 has no torch", file=sys.stderr)
        return 2
    if args.device == "cuda" and not torch.cuda.is_available():
        print("step_peer.py: torch sees no GPU", file=sys.stderr)
        return 2
    measure(torch, args, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
