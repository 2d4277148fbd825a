"""GPT-2 124M in PyTorch and transformers, as `weft bench step` and `weft bench generate` run it.
One JSON line a measurement.
   python torch_gpt2.py step --batch-size 4 --context 256 --dtype fp32 --threads 2 --repeats 5
   python torch_gpt2.py generate --sequences 1 --prompt-tokens 16 --new-tokens 64 --dtype fp32
"""
import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel


def median_seconds(repeats, body):
    times = []
    for i in range(repeats + 1):  # the first one is not counted
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def model_of(args, context):
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(n_layer=args.layers,
                   n_embd=args.width,
                   n_head=args.heads,
                   vocab_size=args.vocab,
                   n_positions=context,
                   attn_pdrop=0,
                   embd_pdrop=0,
                   resid_pdrop=0,
                   bos_token_id=None,
                   eos_token_id=None))


def step(args):
    model = model_of(args, args.context).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    tokens = torch.randint(0, args.vocab, (args.batch_size, args.context))

    def one():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = model(tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = median_seconds(args.repeats, one)
    name = f"train step, {args.batch_size} x {args.context} tokens, {args.dtype}"
    yield name, args.batch_size * args.context / seconds, seconds


def generate(args):
    model = model_of(args, args.prompt_tokens + args.new_tokens + 1).eval()
    if args.dtype == "bf16":
        model = model.to(torch.bfloat16)
    prompt = torch.randint(0, args.vocab, (args.sequences, args.prompt_tokens))

    def run(new_tokens):
        with torch.inference_mode():
            model.generate(prompt,
                           attention_mask=torch.ones_like(prompt),
                           max_new_tokens=new_tokens,
                           min_new_tokens=new_tokens,
                           do_sample=False,
                           pad_token_id=0)

    prefill = median_seconds(args.repeats, lambda: run(1))
    whole = median_seconds(args.repeats, lambda: run(1 + args.new_tokens))
    seconds = (whole - prefill) / args.new_tokens
    name = f"prefill, {args.sequences} x {args.prompt_tokens} tokens, {args.dtype}"
    yield name, args.sequences * args.prompt_tokens / prefill, prefill
    yield f"decode, {args.sequences} sequences, {args.dtype}", args.sequences / seconds, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "generate"])
    for name, default in dict(layers=12,
                              width=768,
                              heads=12,
                              vocab=50257,
                              context=1024,
                              batch_size=1,
                              prompt_tokens=16,
                              new_tokens=64,
                              sequences=1,
                              threads=2,
                              repeats=5).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, value, seconds in {"step": step, "generate": generate}[args.what](args):
        print(json.dumps({
            "bench": args.what, "name": name, "value": value, "unit": "tok/s", "seconds": seconds,
            "threads": args.threads,
            "peer": f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
        }),
              flush=True)


if __name__ == "__main__":
    main()
