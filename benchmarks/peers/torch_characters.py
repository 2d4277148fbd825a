"""The character model of launch/recipes/characters.toml in PyTorch alone, as nanoGPT writes and
trains it (CPU, eager, one file), on the tokens of a Weft token file. One JSON line: the seconds of
the training steps, and the loss over all of the validation part.

   python torch_characters.py tokens.h5 [--steps 2000] [--threads 2] [--seed 1]
"""
import argparse
import json
import math
import time

import h5py
import numpy
import torch
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, CONTEXT, BATCH = 4, 128, 4, 64, 12
LR, MIN_LR, WARMUP, BETAS, DECAY = 1e-3, 1e-4, 100, (0.9, 0.99), 0.1


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, HEADS, c // HEADS).transpose(1, 2)
                   for part in self.qkv(self.ln_1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = name.endswith(("proj.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, labels):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.tokens.weight)  # tied
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), labels.reshape(-1))


def rate(step, steps):
    if step <= WARMUP:
        return LR * step / WARMUP
    done = (step - WARMUP) / (steps - WARMUP)
    return MIN_LR + 0.5 * (1 + math.cos(math.pi * done)) * (LR - MIN_LR)


def read(path):
    """Training and validation tokens as Weft parts them: whole documents at the end."""
    with h5py.File(path) as file:
        tokens = torch.from_numpy(numpy.array(file["tokens"]).astype(numpy.int64))
        offsets = numpy.array(file["document_offsets"])
        share, vocab = float(file.attrs["val_fraction"]), int(file.attrs["vocab_size"])
    at = int(offsets[numpy.searchsorted(offsets, len(tokens) * (1 - share))])
    return tokens[:at], tokens[at:], vocab


def windows(tokens, starts):
    rows = tokens[starts[:, None] + torch.arange(CONTEXT + 1)]
    return rows[:, :-1], rows[:, 1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train, val, vocab = read(args.data)
    model = Gpt(vocab)
    groups = [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": DECAY},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, fused=True)
    begin = time.perf_counter()
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps)
        ids, labels = windows(train, torch.randint(len(train) - CONTEXT, (BATCH,)))
        model(ids, labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - begin
    starts = torch.arange(0, len(val) - CONTEXT, CONTEXT)
    losses = []
    with torch.inference_mode():
        for part in starts.split(64):
            losses.append(len(part) * model(*windows(val, part)).item())
    print(json.dumps({"seconds": seconds, "loss": sum(losses) / len(starts),
                      "validation_tokens": len(val), "samples": len(starts),
                      "peer": f"PyTorch {torch.__version__}"}))


if __name__ == "__main__":
    main()
