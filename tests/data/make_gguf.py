#!/usr/bin/env python3
"""Makes the GGUF files of the tests and what must be read from them.

    python tests/data/make_gguf.py tests/data/gguf

blocks.gguf            random blocks of every format; blocks.safetensors: what
                       gguf.quants.dequantize makes of them
llama_quantised.gguf   a tiny Llama in many formats, with biases; .safetensors: dequantised, its
                       rows in Hugging Face's order
NAME.gguf              a tiny random model of each architecture, converted as llama.cpp's
                       convert_hf_to_gguf.py does;
                       NAME.safetensors: transformers' own state_dict; NAME.json: keys of its config
tokenizer_NAME.json    {"metadata": keys of a GGUF file, "expected": the tokenizer.json that
                       Hugging Face tokenizers writes for it}

Names come from gguf's table and from transformers' models, not from Weft. Needs gguf 0.19, torch,
transformers 5.24, tokenizers, safetensors.
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers as hf
from gguf import GGMLQuantizationType as Q
from safetensors.numpy import save_file
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors)
from transformers.tokenization_utils_base import generate_merges

out = Path(sys.argv[1])
rng = np.random.default_rng(7)
BLOCKS = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K]
SCALES = {
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82],
    Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]
}


def write(path, architecture, keys, tensors):
    """tensors: {name: array, or (raw bytes, type)}."""
    w = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        if isinstance(value, bool):
            w.add_bool(key, value)
        elif isinstance(value, int):
            w.add_uint32(key, value)
        elif isinstance(value, float):
            w.add_float32(key, value)
        elif isinstance(value, str):
            w.add_string(key, value)
        else:
            w.add_array(key, value)
    for name, value in tensors.items():
        if isinstance(value, tuple):
            w.add_tensor(name, value[0], raw_dtype=value[1])
        else:
            w.add_tensor(name, np.ascontiguousarray(value))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def blocks():
    tensors, golden = {}, {}
    for q in BLOCKS:
        elems, size = gguf.GGML_QUANT_SIZES[q]
        rows, per_row = 3, 512 // elems
        raw = rng.integers(0, 256, (rows * per_row, size), dtype=np.uint8)
        for at in SCALES[q]:  # any finite half: both signs, subnormals, zero
            half = rng.integers(0, 0x7C00, rows * per_row, dtype=np.uint16) | (
                rng.integers(0, 2, rows * per_row, dtype=np.uint16) << 15)
            half[0] = 0
            half[1] = 3
            raw[:, at:at + 2] = half.view(np.uint8).reshape(-1, 2)
        raw = raw.reshape(rows, per_row * size)
        tensors[q.name] = (raw, q)
        golden[q.name] = gguf.quants.dequantize(raw, q).astype(np.float32)
        assert np.isfinite(golden[q.name]).all()
    plain = rng.standard_normal((3, 50)).astype(np.float32)
    tensors["F32"], golden["F32"] = plain, plain
    tensors["F16"], golden["F16"] = plain.astype(np.float16), plain.astype(np.float16).astype(
        np.float32)
    raw = gguf.quants.quantize(plain, Q.BF16)
    tensors["BF16"], golden["BF16"] = (raw, Q.BF16), gguf.quants.dequantize(raw, Q.BF16)
    write(out / "blocks.gguf", "none", {}, tensors)
    save_file(golden, out / "blocks.safetensors")


def permute(w, heads):  # convert_hf_to_gguf.py, LlamaModel.permute
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1,
                                                                                2).reshape(w.shape)


def permutation(rows, heads):
    """Where row r of Hugging Face's stands, told apart from `permute`."""
    d = rows // heads
    return np.array(
        [r // d * d + 2 * (r % d % (d // 2)) + (r % d) // (d // 2) for r in range(rows)])


def llama_quantised():
    C, H, Hkv, D, F, V = 64, 4, 2, 16, 32, 40
    kinds = {
        "token_embd": ((V, C), Q.Q8_0), "output": ((V, C), Q.Q5_0), "blk.0.attn_q": (
            (H * D, C), Q.Q4_0), "blk.0.attn_k": ((Hkv * D, C), Q.Q4_1), "blk.0.attn_v": (
                (Hkv * D, C), Q.F16), "blk.0.attn_output": ((C, H * D), Q.Q5_1),
        "blk.0.ffn_gate": ((F, C), Q.BF16), "blk.0.ffn_up": ((F, C), Q.F32), "blk.0.ffn_down": (
            (C, F), Q.Q8_0)
    }
    names = {
        "token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm"
    }
    tensors, golden = {}, {}

    def put(stem, suffix, values, kind):
        raw = gguf.quants.quantize(values, kind)
        wide = gguf.quants.dequantize(raw, kind)
        tensors[stem + suffix] = (raw, kind)
        leaf = stem.split(".")[-1]
        if leaf in ("attn_q", "attn_k"):
            wide = wide[permutation(len(wide), H if leaf == "attn_q" else Hkv)]
        golden[("model.layers.0." if stem.startswith("blk") else "") + names[leaf] +
               suffix] = np.ascontiguousarray(wide)

    for stem, (shape, kind) in kinds.items():
        put(stem, ".weight", rng.standard_normal(shape).astype(np.float32), kind)
    for stem in ("attn_q", "attn_k", "attn_v", "attn_output"):
        put("blk.0." + stem, ".bias",
            rng.standard_normal(kinds["blk.0." + stem][0][0]).astype(np.float32), Q.F32)
    for stem in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        put(stem, ".weight", rng.standard_normal(C).astype(np.float32), Q.F32)
    keys = {
        "llama.block_count": 1, "llama.context_length": 128, "llama.embedding_length": C,
        "llama.feed_forward_length": F, "llama.attention.head_count": H,
        "llama.attention.head_count_kv": Hkv, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0, "llama.rope.dimension_count": D
    }
    write(out / "llama_quantised.gguf", "llama", keys, tensors)
    save_file(golden, out / "llama_quantised.safetensors")


SMALL = dict(vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=32, bos_token_id=1, eos_token_id=2,
             pad_token_id=0)
GROUPED = dict(SMALL, num_key_value_heads=2)
ROPE = "rope.freq_base", "rope_theta"
RMS = "attention.layer_norm_rms_epsilon", "rms_norm_eps"
LAYER_NORM = "attention.layer_norm_epsilon"
# architecture: class, its config, {key of the GGUF file: key of the config}, more keys of the file,
# keys of the config to compare
MODELS = {
    "llama": (hf.LlamaForCausalLM,
              hf.LlamaConfig(**GROUPED, rms_norm_eps=1e-5, rope_theta=50000.0,
                             tie_word_embeddings=False,
                             attention_bias=True), [RMS], {}, ["attention_bias"]),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config(**GROUPED,
                                                  tie_word_embeddings=True), [RMS], {}, []),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**GROUPED, head_dim=8), [RMS],
              {"attention.key_length": 8,
               "attention.value_length": 8}, ["head_dim", "attention_bias"]),
    "phi3":
        (hf.Phi3ForCausalLM, hf.Phi3Config(**GROUPED, sliding_window=9, rms_norm_eps=1e-5), [RMS], {
            "attention.sliding_window": 9, "rope.dimension_count": 4,
            "rope.scaling.original_context_length": 4096
        }, ["sliding_window", "original_max_position_embeddings"]),
    "gemma": (hf.GemmaForCausalLM, hf.GemmaConfig(**GROUPED, head_dim=8), [RMS],
              {"attention.key_length": 8, "attention.value_length": 8}, ["head_dim", "hidden_act"]),
    "gemma2":
        (hf.Gemma2ForCausalLM,
         hf.Gemma2Config(**GROUPED, head_dim=8, sliding_window=7, query_pre_attn_scalar=8), [RMS], {
             "attention.key_length": 8, "attention.value_length": 8, "attention.sliding_window": 7,
             "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0
         }, [
             "head_dim", "sliding_window", "attn_logit_softcapping", "final_logit_softcapping",
             "query_pre_attn_scalar"
         ]),
    "gemma3":
        (hf.Gemma3ForCausalLM,
         hf.Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=7,
                             query_pre_attn_scalar=8), [RMS],
         {"attention.key_length": 8, "attention.value_length": 8,
          "attention.sliding_window": 7}, ["head_dim", "sliding_window", "query_pre_attn_scalar"]),
    "starcoder2": (hf.Starcoder2ForCausalLM,
                   hf.Starcoder2Config(**GROUPED, use_bias=True, sliding_window=None),
                   [(LAYER_NORM, "norm_epsilon")], {}, ["norm_epsilon", "use_bias"]),
    "gpt2": (hf.GPT2LMHeadModel,
             hf.GPT2Config(vocab_size=24, n_embd=16, n_layer=2, n_head=4, n_positions=32,
                           n_inner=24, bos_token_id=1,
                           eos_token_id=2), [(LAYER_NORM, "layer_norm_epsilon")], {}, [
                               "n_layer", "n_embd", "n_head", "n_positions", "n_inner",
                               "layer_norm_epsilon", "activation_function"
                           ]),
    "gptneox": (hf.GPTNeoXForCausalLM,
                hf.GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "pad_token_id"},
                                 rotary_pct=0.5, use_parallel_residual=False), [
                                     (LAYER_NORM, "layer_norm_eps")
                                 ], {"rope.dimension_count": 2, "use_parallel_residual": False},
                ["use_parallel_residual", "layer_norm_eps", "attention_bias", "hidden_act"]),
    "bert": (hf.BertModel, hf.BertConfig(**SMALL), [(LAYER_NORM, "layer_norm_eps")], {},
             ["type_vocab_size", "layer_norm_eps", "hidden_act"]),
}


def model(architecture):
    cls, config, keys, more, compared = MODELS[architecture]
    torch.manual_seed(3)
    net = cls(config).eval()
    state = {}
    for name, value in net.state_dict().items():
        if name.startswith("pooler.") or name.endswith(
            (".attn.bias", ".attn.masked_bias")) or (name == "lm_head.weight" and
                                                     config.tie_word_embeddings):
            continue
        state[name] = (torch.randn(value.shape) * 0.5).to(torch.float16).float().numpy()
    arch = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == architecture)
    table = gguf.get_tensor_name_map(arch, 2)
    H = config.num_attention_heads
    Hkv = getattr(config, "num_key_value_heads", H)
    tensors, golden = {}, {}
    for name, value in state.items():
        stored = value
        if architecture == "llama" and ".q_proj." in name:
            stored = permute(value, H)
        elif architecture == "llama" and ".k_proj." in name:
            stored = permute(value, Hkv)
        elif architecture.startswith("gemma") and name.endswith("norm.weight"):
            stored = value + np.float32(1)
            value = stored - np.float32(1)  # what is left of w after both roundings
        elif architecture == "gpt2" and name.endswith(
            (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            stored = value.T
        elif architecture == "gptneox" and ".query_key_value." in name:
            parts = value.reshape(H, 3, -1, *value.shape[1:])
            stored = np.concatenate([parts[:, i].reshape(-1, *value.shape[1:]) for i in range(3)])
        target = table.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target and target not in tensors, name
        tensors[target] = stored.astype(np.float16 if stored.ndim == 2 else np.float32)
        golden[name] = np.ascontiguousarray(value)
    c = config.to_dict()
    theta = (c.get("rope_parameters") or {}).get("rope_theta") or (c.get("rope_parameters") or
                                                                   {}).get("full_attention",
                                                                           {}).get("rope_theta")
    width, ffn = (c["n_embd"], c["n_inner"]) if architecture == "gpt2" else (c["hidden_size"],
                                                                             c["intermediate_size"])
    known = {
        "block_count": 2, "context_length": 32, "embedding_length": width,
        "feed_forward_length": ffn, "attention.head_count": H
    }
    if Hkv != H:
        known["attention.head_count_kv"] = Hkv
    if theta:
        known["rope.freq_base"] = float(theta)
    for key, name in keys:
        known[key] = float(c[name])
    known.update(more)
    keys = {f"{architecture}.{k}": v for k, v in known.items()}
    ids = {
        "bos": c.get("bos_token_id"), "eos": c.get("eos_token_id"), "padding": c.get("pad_token_id")
    }
    keys.update({f"tokenizer.ggml.{k}_token_id": v for k, v in ids.items() if v is not None})
    write(out / f"{architecture}.gguf", architecture, keys, tensors)
    save_file(golden, out / f"{architecture}.safetensors")
    compared = compared + ["model_type", "vocab_size", "bos_token_id", "eos_token_id"]
    if architecture != "gpt2":
        compared += [
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "max_position_embeddings"
        ]
    if Hkv != H:
        compared += ["num_key_value_heads"]
    if architecture not in ("gpt2", "bert"):
        compared += ["tie_word_embeddings"]
    expected = {k: c[k] for k in compared}
    for key in ("rms_norm_eps",):
        if key in c:
            expected[key] = c[key]
    if theta and architecture != "gptneox":
        expected["rope_theta"] = theta
    if architecture == "gptneox":
        expected |= {"rotary_emb_base": theta, "rotary_pct": 0.5}
    (out / f"{architecture}.json"
    ).write_text(json.dumps({"architecture": cls.__name__, "config": expected}, indent=1) + "\n")


NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"


def save_tokenizer(name, metadata, tok):
    (out / f"tokenizer_{name}.json").write_text(
        json.dumps({"metadata": metadata, "expected": json.loads(tok.to_str())}, ensure_ascii=False,
                   separators=(",", ":")) + "\n")


def byte_level(name, pre, normalizer, parts, ignore_merges, metadata=None, template=None):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("1", "2"), ("'", "s"), ("i", "n")]
    tokens = ["<|end|>", "<|role|>"] + alphabet + [a + b for a, b in merges
                                                  ] + ["<think>", "[PAD266]"]
    types = [CONTROL, CONTROL] + [NORMAL] * 262 + [USER, UNUSED]
    tok = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(tokens) if types[i] != UNUSED}, merges=merges,
                   ignore_merges=ignore_merges))
    tok.normalizer = normalizer
    tok.pre_tokenizer = parts[0] if len(parts) == 1 else pre_tokenizers.Sequence(parts)
    tok.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in tokens[:2]])
    tok.add_tokens([AddedToken("<think>", normalized=False, special=False)])
    if template:
        tok.post_processor = template
    keys = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": [" ".join(m) for m in merges],
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 0
    }
    save_tokenizer(name, keys | (metadata or {}), tok)


def sentencepiece(name, architecture, prefix):
    words = [SPACE, "a", "b", "c", "\u65e5"] + ([SPACE * 2, SPACE * 3] if not prefix else []) + [
        "ab", SPACE + "a", "bc", "abc", SPACE + "ab", SPACE + "abc"
    ]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + words + ["<|user|>"]
    n = len(tokens)
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [
        USER if set(w) == {SPACE} and len(w) > 1 else NORMAL for w in words
    ] + [USER]
    scores = [0.0] * 259 + [-float(i) for i in range(len(words))] + [-1000.0]
    if prefix:
        scores[tokens.index("bc")] = scores[tokens.index("ab")]  # ties
    mergeable = {t: i for t, i, k in zip(tokens, range(n), types) if k in (NORMAL, USER)}
    order = {t: (-i if not prefix else scores[i]) for t, i in mergeable.items()}
    tok = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                   merges=generate_merges(mergeable, order), unk_token="<unk>", fuse_unk=True,
                   byte_fallback=True))
    replace = normalizers.Replace(" ", SPACE)
    tok.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace
                                          ]) if prefix else replace
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tok.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "),
         decoders.ByteFallback(),
         decoders.Fuse()] + strip)
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                       special_tokens=[("<s>", 1)])
    tok.add_special_tokens([
        AddedToken(t, normalized=False, special=True, rstrip=architecture == "phi3" and t == "</s>")
        for t in tokens[:3]
    ])
    tok.add_tokens(
        [AddedToken("<|user|>", normalized=False, special=False, rstrip=architecture == "phi3")])
    spelled = [
        " " * len(t) if k == USER and set(t) == {SPACE} else t for t, k in zip(tokens, types)
    ]
    keys = {
        "general.architecture": architecture, "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": spelled, "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0
    }
    if not prefix:
        keys["tokenizer.ggml.add_space_prefix"] = False
    save_tokenizer(name, keys, tok)


def wordpiece(name, words, lowercase):
    bert = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words
    types = [CONTROL, NORMAL, CONTROL, CONTROL, CONTROL, CONTROL] + [NORMAL] * len(words)
    tokens = [
        t if k == CONTROL else t[2:] if t.startswith("##") else SPACE + t
        for t, k in zip(bert, types)
    ]
    tok = Tokenizer(models.WordPiece(vocab={t: i for i, t in enumerate(bert)}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                       pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                       special_tokens=[("[CLS]", 3), ("[SEP]", 4)])
    tok.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t in bert[:6] if t != "[unused0]"])
    keys = {
        "tokenizer.ggml.model": "bert", "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 3, "tokenizer.ggml.seperator_token_id": 4,
        "tokenizer.ggml.unknown_token_id": 2, "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.mask_token_id": 5
    }
    save_tokenizer(name, keys, tok)


blocks()
llama_quantised()
for architecture in MODELS:
    model(architecture)
P = pre_tokenizers
GPT2 = P.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
byte_level("gpt2", "default", None, [GPT2], False)
byte_level("smollm", "smollm", None, [P.Digits(individual_digits=True), GPT2], False)
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BARE = P.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
byte_level(
    "llama3", "llama-bpe", None, [P.Split(Regex(LLAMA3), "isolated"), BARE], True,
    template=processors.TemplateProcessing(single="<|end|> $A", pair="<|end|> $A <|end|>:1 $B:1",
                                           special_tokens=[("<|end|>", 0)]))
byte_level(
    "qwen2", "qwen2", normalizers.NFC(),
    [P.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), BARE], False,
    metadata={"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_eos_token": True},
    template=processors.TemplateProcessing(single="$A <|end|>", pair="$A <|end|> $B:1 <|end|>:1",
                                           special_tokens=[("<|end|>", 0)]))
sentencepiece("llama", "llama", True)
sentencepiece("phi3", "phi3", True)
sentencepiece("gemma", "gemma", False)
wordpiece("bert_uncased", ["a", "b", "##b", "##c", "ab", "."], True)
wordpiece("bert_cased", ["a", "A", "##b", "##c", "Ab", "."], False)
