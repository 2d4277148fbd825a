"""GPT-2's and Llama's transformer in plain PyTorch, of the sizes in a Hugging Face config.json: the
products of Weft's model, in as few modules. Shapes as there: B, T, C, H, Hkv, D, S, V."""
import torch
import torch.nn.functional as F
from torch import nn


class Sizes:

    def __init__(self, config):
        self.llama = config["model_type"] == "llama"
        if self.llama:
            self.layers, self.C = config["num_hidden_layers"], config["hidden_size"]
            self.H, self.Hkv = config["num_attention_heads"], config["num_key_value_heads"]
            self.ffn, self.context = config["intermediate_size"], config["max_position_embeddings"]
            self.theta = config["rope_theta"]
        else:
            self.layers, self.C = config["n_layer"], config["n_embd"]
            self.H = self.Hkv = config["n_head"]
            self.ffn, self.context = 4 * self.C, config["n_positions"]
        self.D = self.C // self.H
        self.vocab = config["vocab_size"]
        self.V = (self.vocab + 127) // 128 * 128  # rows padded as Weft's and nanoGPT's are


def norm(sizes):
    return nn.RMSNorm(sizes.C, eps=1e-5) if sizes.llama else nn.LayerNorm(sizes.C)


def rotated(x, cos, sin):  # (B, T, H, D), (T, D / 2)
    a, b = x.float().chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).type_as(x)


class Attention(nn.Module):

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.qkv = nn.Linear(sizes.C, (sizes.H + 2 * sizes.Hkv) * sizes.D, bias=not sizes.llama)
        self.out = nn.Linear(sizes.C, sizes.C, bias=not sizes.llama)

    def forward(self, x, at, turns, cache):
        s = self.sizes
        B, T, _ = x.shape
        q, k, v = self.qkv(x).view(B, T, -1, s.D).split([s.H, s.Hkv, s.Hkv], 2)
        if turns:
            q, k = rotated(q, *turns), rotated(k, *turns)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))  # (B, H, T, D)
        seen = None
        if cache:
            keys, values = cache  # (B, Hkv, S, D)
            keys.index_copy_(2, at, k)
            values.index_copy_(2, at, v)
            if T == 1:
                k, v = keys, values
                seen = (torch.arange(keys.shape[2], device=x.device) <= at)[None, None, None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None,
                                           enable_gqa=s.H != s.Hkv)
        return self.out(y.transpose(1, 2).reshape(B, T, s.C))


class FeedForward(nn.Module):

    def __init__(self, sizes):
        super().__init__()
        self.gated = sizes.llama
        self.up = nn.Linear(sizes.C, (2 if self.gated else 1) * sizes.ffn, bias=not self.gated)
        self.down = nn.Linear(sizes.ffn, sizes.C, bias=not self.gated)

    def forward(self, x):
        x = self.up(x)
        if self.gated:
            gate, x = x.chunk(2, -1)
            return self.down(F.silu(gate) * x)
        return self.down(F.gelu(x, approximate="tanh"))


class Block(nn.Module):

    def __init__(self, sizes):
        super().__init__()
        self.norm1, self.norm2 = norm(sizes), norm(sizes)
        self.attention, self.ffn = Attention(sizes), FeedForward(sizes)

    def forward(self, x, at, turns, cache):
        x = x + self.attention(self.norm1(x), at, turns, cache)
        return x + self.ffn(self.norm2(x))


class Model(nn.Module):

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.tokens = nn.Embedding(sizes.V, sizes.C)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = norm(sizes)
        if sizes.llama:
            self.head = nn.Linear(sizes.C, sizes.V, bias=False)
            speeds = sizes.theta**(-torch.arange(0, sizes.D, 2) / sizes.D)
            angles = torch.outer(torch.arange(sizes.context), speeds)
            self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()]))
        else:
            self.positions = nn.Embedding(sizes.context, sizes.C)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    # The places `at` (T) of a sequence, ids (B, T); the caches are written there. Logits
    # (B, T, V), or (B, 1, V) of the last place.
    def forward(self, ids, at, caches=None, last=False):
        x = self.tokens(ids)
        turns = None
        if self.sizes.llama:
            turns = (self.turns[0][at], self.turns[1][at])
        else:
            x = x + self.positions(at)
        for i, block in enumerate(self.blocks):
            x = block(x, at, turns, caches[i] if caches else None)
        x = self.norm(x[:, -1:] if last else x)
        return self.head(x) if self.sizes.llama else F.linear(x, self.tokens.weight)

    def loss(self, ids, labels, at):
        logits = self(ids, at)
        return F.cross_entropy(logits.view(-1, self.sizes.V).float(), labels.view(-1))

    def caches(self, B, S):  # zeros, since nothing unwritten may be NaN behind a mask
        w = self.tokens.weight
        return [[torch.zeros(B, self.sizes.Hkv, S, self.sizes.D, device=w.device, dtype=w.dtype)
                 for _ in range(2)] for _ in self.blocks]
