"""Writes yarn.json beside this file: frequencies and the factor of cosines and sines that transformers
computes for YaRN as model cards and configs spell it. Python with torch and transformers."""
import json
import pathlib

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

QWEN = dict(model_type="qwen2", hidden_size=256, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=64, num_hidden_layers=1, vocab_size=64, rope_theta=1000000.0)
LLAMA = dict(model_type="llama", hidden_size=128, num_attention_heads=4, intermediate_size=64,
             num_hidden_layers=1, vocab_size=64)
NEOX = dict(model_type="gpt_neox", hidden_size=256, num_attention_heads=4, intermediate_size=64,
            num_hidden_layers=1, vocab_size=64)

CASES = {
    # Qwen2.5's card: the trained length stays in max_position_embeddings
    "qwen_card": dict(QWEN, max_position_embeddings=32768, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=32768, type="yarn")),
    "qwen_rope_type": dict(QWEN, max_position_embeddings=131072, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=32768, rope_type="yarn")),
    "both_types": dict(QWEN, max_position_embeddings=32768, rope_scaling=dict(
        factor=2.0, original_max_position_embeddings=16384, rope_type="yarn", type="linear")),
    "no_original": dict(LLAMA, max_position_embeddings=4096, rope_scaling=dict(factor=8.0, type="yarn")),
    "original_outside": dict(LLAMA, max_position_embeddings=65536, original_max_position_embeddings=2048,
                             rope_scaling=dict(factor=16.0, type="yarn", original_max_position_embeddings=4096)),
    "yarn_llama": dict(LLAMA, max_position_embeddings=65536, rope_scaling=dict(
        factor=16.0, original_max_position_embeddings=4096, type="yarn", finetuned=True)),
    "null_factor": dict(LLAMA, max_position_embeddings=16384, rope_scaling=dict(
        factor=None, original_max_position_embeddings=4096, rope_type="yarn")),
    "attention_factor": dict(LLAMA, max_position_embeddings=8192, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=2048, rope_type="yarn", attention_factor=1.25)),
    "null_attention_factor": dict(LLAMA, max_position_embeddings=8192, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=2048, rope_type="yarn", attention_factor=None)),
    "deepseek": dict(LLAMA, max_position_embeddings=163840, rope_scaling=dict(
        beta_fast=32, beta_slow=1, factor=40, mscale=1.0, mscale_all_dim=1.0,
        original_max_position_embeddings=4096, type="yarn")),
    "mscales_differ": dict(LLAMA, max_position_embeddings=163840, rope_scaling=dict(
        beta_fast=32, beta_slow=1, factor=40, mscale=0.707, mscale_all_dim=0.5,
        original_max_position_embeddings=4096, type="yarn")),
    "mscale_alone": dict(LLAMA, max_position_embeddings=163840, rope_scaling=dict(
        factor=40, mscale=0.707, original_max_position_embeddings=4096, type="yarn")),
    "mscale_zero": dict(LLAMA, max_position_embeddings=163840, rope_scaling=dict(
        factor=40, mscale=0.707, mscale_all_dim=0, original_max_position_embeddings=4096, type="yarn")),
    "not_truncated": dict(LLAMA, max_position_embeddings=131072, rope_scaling=dict(
        factor=32.0, original_max_position_embeddings=4096, rope_type="yarn", beta_fast=32.0, beta_slow=1.0,
        truncate=False)),
    "null_truncate": dict(LLAMA, max_position_embeddings=131072, rope_scaling=dict(
        factor=32.0, original_max_position_embeddings=4096, rope_type="yarn", truncate=None)),
    "betas": dict(LLAMA, max_position_embeddings=131072, rope_scaling=dict(
        factor=3.7, original_max_position_embeddings=4096, rope_type="yarn", beta_fast=9.5, beta_slow=2)),
    "null_betas": dict(LLAMA, max_position_embeddings=131072, rope_scaling=dict(
        factor=3.7, original_max_position_embeddings=4096, rope_type="yarn", beta_fast=None, beta_slow=0)),
    "one_pair_ramps": dict(LLAMA, max_position_embeddings=64, rope_scaling=dict(
        factor=4.0, original_max_position_embeddings=16, rope_type="yarn", beta_fast=2.0, beta_slow=1.9)),
    "rope_parameters": dict(LLAMA, max_position_embeddings=16384, rope_parameters=dict(
        rope_type="yarn", rope_theta=500000.0, factor=4.0, original_max_position_embeddings=4096)),
    "theta_in_both": dict(LLAMA, max_position_embeddings=16384, rope_theta=20000.0, rope_parameters=dict(
        rope_type="yarn", rope_theta=500000.0, factor=4.0, original_max_position_embeddings=4096)),
    "scaling_before_parameters": dict(LLAMA, max_position_embeddings=16384, rope_theta=20000.0,
                                      rope_scaling=dict(type="yarn", factor=2.0, original_max_position_embeddings=8192),
                                      rope_parameters=dict(rope_type="linear", factor=4.0)),
    "partial": dict(NEOX, max_position_embeddings=8192, rotary_pct=0.25, rotary_emb_base=10000, rope_scaling=dict(
        type="yarn", factor=4.0, original_max_position_embeddings=2048)),
    "factor_below_one": dict(LLAMA, max_position_embeddings=4096, rope_scaling=dict(
        type="yarn", factor=0.5, original_max_position_embeddings=4096)),
}


def entry(values):
    values = json.loads(json.dumps(values))
    kept = json.loads(json.dumps(values))
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    frequencies, factor = ROPE_INIT_FUNCTIONS["yarn"](config, device="cpu")
    assert frequencies.dtype == torch.float32
    return {"config": kept, "frequencies": [float(f) for f in frequencies], "attention_factor": factor}


def main():
    versions = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})
    cases = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry(values))}" for name, values in CASES.items())
    path = pathlib.Path(__file__).with_name("yarn.json")
    path.write_text(f'{{"versions": {versions}, "cases": {{\n{cases}\n}}}}\n')


main()
