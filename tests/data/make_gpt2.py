#!/usr/bin/env python3
"""Golden values of two small GPT-2s from the reference implementation, for tests/parity and
tests/model.

Run with torch and transformers (their versions stand in the metadata of each golden.safetensors):
    python tests/data/make_gpt2.py tests/data
Weights are random and rounded to fp32; everything else is computed in fp64 and then stored as fp32.
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

MODELS = {
    "gpt2_h3": dict(n_layer=3,
                    n_embd=48,
                    n_head=3,
                    vocab_size=211,
                    n_positions=96,
                    activation_function="gelu_new",
                    eos_token_id=210,
                    bos_token_id=210),
    "gpt2_h5": dict(n_layer=2,
                    n_embd=40,
                    n_head=5,
                    n_inner=100,
                    vocab_size=1003,
                    n_positions=96,
                    activation_function="gelu",
                    scale_attn_by_inverse_layer_idx=True,
                    eos_token_id=1002,
                    bos_token_id=1002),
}


def build(settings):
    model = GPT2LMHeadModel(
        GPT2Config(**settings,
                   embd_pdrop=0.0,
                   attn_pdrop=0.0,
                   resid_pdrop=0.0,
                   attn_implementation="eager"))
    generator = torch.Generator().manual_seed(20261124)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(0.08 * noise if p.dim() >= 2 else (
                1 + 0.1 * noise if "ln_" in name and name.endswith("weight") else 0.05 * noise))
    return model, generator


def curve(model, ids):
    """20 steps of AdamW on one batch: the loss before each step, and the gradient norm before
    clipping."""
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
        eps=1e-8)
    losses, norms = [], []
    for _ in range(20):
        optimizer.zero_grad()
        loss = loss_of(model, ids)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        losses.append(loss.item())
        optimizer.step()
    return losses, norms


def loss_of(model, ids):
    logits = model(ids[:, :-1]).logits
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def main(out):
    for name, settings in MODELS.items():
        model, generator = build(settings)
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        with open(os.path.join(folder, "config.json")) as f:
            config = json.load(f)
        V, T = settings["vocab_size"], settings["n_positions"]
        ids = torch.randint(0, V, (4, T + 1), generator=generator)
        model = model.double().eval()
        golden = {"ids": ids.int()}
        logits = model(ids[:, :-1]).logits
        loss = F.cross_entropy(logits.reshape(-1, V), ids[:, 1:].reshape(-1))
        loss.backward()
        golden["loss"] = loss.detach()
        golden["logits"] = logits.detach()[:4 if V < 500 else 1]
        golden["logprobs"] = torch.log_softmax(logits.detach(), -1).gather(-1, ids[:, 1:,
                                                                                   None])[..., 0]
        for key, p in model.named_parameters():
            golden["grad." + key.removeprefix("transformer.")] = p.grad.clone()
        prompts = [ids[0, :5], ids[1, :11], ids[2, :1]]
        greedy = [
            model.generate(p[None],
                           do_sample=False,
                           max_new_tokens=30,
                           eos_token_id=None,
                           pad_token_id=0)[0, len(p):] for p in prompts
        ]
        golden["greedy"] = torch.stack(greedy).int()
        losses, norms = curve(model.train(), ids)
        golden["adamw_losses"], golden["adamw_grad_norms"] = torch.tensor(losses), torch.tensor(
            norms)
        golden = {
            k: (v if v.dtype == torch.int32 else v.float()).contiguous() for k, v in golden.items()
        }
        save_file(golden,
                  os.path.join(folder, "golden.safetensors"),
                  metadata={
                      "torch": torch.__version__, "transformers": transformers.__version__,
                      "script": "tests/data/make_gpt2.py"
                  })
        print(name, config["model_type"], "loss", loss.item(), "curve", losses[0], losses[-1])


if __name__ == "__main__":
    main(sys.argv[1])
