#!/usr/bin/env python3
"""Golden values of small random models of every family from the reference implementation, for
tests/parity and tests/model.

Run with torch and transformers (their versions stand in the metadata of each golden.safetensors):
    python tests/data/make_families.py tests/data/families [NAME...]
Weights are random and rounded to fp32; everything else is computed in fp64 and then stored as fp32.
The reference computes its norms, softmax and rotary angles in fp32 whatever the model's type is, so
here `float32` means fp64 while it runs (see in_fp64).

In a golden file (names as in Weft, parameter names as in the checkpoint):
    ids, type_ids (B, T) i32; lengths (B) i32 where rows are padded at the right (values there: 0)
    labels  causal LM, masked LM, tokens: (B, T) i32, aligned with logits (shifted), -100 elsewhere;
            classes: (B) i32; regression: (B) f32; several labels: (B, n) f32
    loss, logits, hidden (B, T, C) after the final norm, pooled (B, C),
            attention (L, B or 1, H, T, T), grad.NAME
    prompt.0..2 and greedy (3, 30): recomputed from the whole sequence at each token; greedy_cached
            where a cache changes the result
"""
import contextlib
import copy
import json
import math
import os
import sys

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

LLAMA = dict(vocab_size=83, max_position_embeddings=48, pad_token_id=None, bos_token_id=1,
             eos_token_id=2)
BERT = dict(vocab_size=83, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
            intermediate_size=49, max_position_embeddings=48, type_vocab_size=3, pad_token_id=0,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
DISTILBERT = dict(vocab_size=83, dim=28, n_layers=2, n_heads=7, hidden_dim=55,
                  max_position_embeddings=48, pad_token_id=0, dropout=0.0, attention_dropout=0.0,
                  seq_classif_dropout=0.0, qa_dropout=0.0)
ROBERTA = dict(vocab_size=83, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
               intermediate_size=55, max_position_embeddings=50, type_vocab_size=1, pad_token_id=1,
               bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5, hidden_dropout_prob=0.0,
               attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
ESM = dict(vocab_size=33, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
           intermediate_size=49, max_position_embeddings=50, pad_token_id=1, mask_token_id=32,
           layer_norm_eps=1e-5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
NEOX = dict(vocab_size=83, num_hidden_layers=2, max_position_embeddings=48, hidden_dropout=0.0,
            attention_dropout=0.0, classifier_dropout=0.0, bos_token_id=0, eos_token_id=0)

# name: (model class, kind of golden, settings, sequence length)
MODELS = {
    "gptneox_parallel": ("GPTNeoXForCausalLM", "clm",
                         dict(
                             NEOX, hidden_size=40, num_attention_heads=5, intermediate_size=35,
                             use_parallel_residual=True, hidden_act="gelu",
                             rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                  partial_rotary_factor=0.25)), 24),
    "gptneox_sequential": ("GPTNeoXForCausalLM", "clm",
                           dict(
                               NEOX, hidden_size=30, num_attention_heads=3, intermediate_size=77,
                               use_parallel_residual=False, hidden_act="gelu",
                               rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                    partial_rotary_factor=0.4)), 24),
    "llama2": ("LlamaForCausalLM", "clm",
               dict(LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
                    intermediate_size=49), 24),
    "llama3": ("LlamaForCausalLM", "clm",
               dict(
                   LLAMA, hidden_size=36, num_hidden_layers=2, num_attention_heads=6,
                   num_key_value_heads=2, head_dim=8, intermediate_size=53, rms_norm_eps=1e-5,
                   tie_word_embeddings=True,
                   rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0,
                                        low_freq_factor=1.0, high_freq_factor=4.0,
                                        original_max_position_embeddings=32)), 24),
    "llama_linear": ("LlamaForCausalLM", "clm",
                     dict(LLAMA, hidden_size=28, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=1, head_dim=6, intermediate_size=49,
                          attention_bias=True, mlp_bias=True,
                          rope_parameters=dict(rope_type="linear", rope_theta=10000.0,
                                               factor=2.5)), 24),
    "llama_yarn": ("LlamaForCausalLM", "clm",
                   dict(
                       LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
                       num_key_value_heads=5, head_dim=12, intermediate_size=35,
                       rope_parameters=dict(rope_type="yarn", rope_theta=50.0, factor=4.0,
                                            original_max_position_embeddings=16, beta_fast=2.0,
                                            beta_slow=0.25)), 32),
    "llama_dynamic": ("LlamaForCausalLM", "clm",
                      dict(LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=3,
                           num_key_value_heads=1, intermediate_size=49, max_position_embeddings=20,
                           rope_parameters=dict(rope_type="dynamic", rope_theta=100.0,
                                                factor=2.0)), 36),
    "mistral": ("MistralForCausalLM", "clm",
                dict(LLAMA, hidden_size=28, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=10, intermediate_size=49,
                     sliding_window=7), 24),
    "qwen2": ("Qwen2ForCausalLM", "clm",
              dict(LLAMA, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                   num_key_value_heads=2, intermediate_size=49, use_sliding_window=True,
                   sliding_window=6, max_window_layers=2, tie_word_embeddings=True), 24),
    "phi3": ("Phi3ForCausalLM", "clm",
             dict(
                 LLAMA, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, intermediate_size=49, sliding_window=9,
                 original_max_position_embeddings=48,
                 rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                      partial_rotary_factor=0.75)), 24),
    "phi3_longrope": ("Phi3ForCausalLM", "clm",
                      dict(
                          LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
                          num_key_value_heads=5, intermediate_size=49,
                          original_max_position_embeddings=16, max_position_embeddings=64,
                          rope_parameters=dict(rope_type="longrope", rope_theta=100.0,
                                               short_factor=[1.0, 1.3, 1.7],
                                               long_factor=[1.2, 2.5, 6.0])), 36),
    "gemma": ("GemmaForCausalLM", "clm",
              dict(LLAMA, hidden_size=28, num_hidden_layers=2, num_attention_heads=3,
                   num_key_value_heads=1, head_dim=10, intermediate_size=49,
                   hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True), 24),
    "gemma2": ("Gemma2ForCausalLM", "clm",
               dict(LLAMA, hidden_size=28, num_hidden_layers=4, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=8, intermediate_size=35,
                    hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=5,
                    attn_logit_softcapping=5.0, final_logit_softcapping=3.0, sliding_window=5,
                    tie_word_embeddings=True), 24),
    "qwen3": ("Qwen3ForCausalLM", "clm",
              dict(LLAMA, hidden_size=28, num_hidden_layers=2, num_attention_heads=6,
                   num_key_value_heads=2, head_dim=8, intermediate_size=49,
                   tie_word_embeddings=True), 24),
    "olmo2": ("Olmo2ForCausalLM", "clm",
              dict(LLAMA, hidden_size=36, num_hidden_layers=2, num_attention_heads=6,
                   num_key_value_heads=2, intermediate_size=49), 24),
    "bert_mlm": ("BertForMaskedLM", "mlm", BERT, 20),
    "bert_clm": ("BertLMHeadModel", "logits", dict(BERT, is_decoder=True), 20),
    "bert_classify": ("BertForSequenceClassification", "classes",
                      dict(BERT, id2label={0: "entails", 1: "neutral", 2: "contradicts"},
                           label2id={"entails": 0, "neutral": 1, "contradicts": 2}), 20),
    "bert_tokens":
        ("BertForTokenClassification", "tokens",
         dict(BERT,
              id2label={i: s for i, s in enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])},
              label2id={s: i for i, s in enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])}), 20
        ),
    "bert_base": ("BertModel", "base", BERT, 20),
    "distilbert_mlm": ("DistilBertForMaskedLM", "mlm", DISTILBERT, 20),
    "distilbert_classify": ("DistilBertForSequenceClassification", "classes",
                            dict(DISTILBERT, id2label={0: "NEGATIVE", 1: "POSITIVE"},
                                 label2id={"NEGATIVE": 0, "POSITIVE": 1}), 20),
    "roberta_mlm": ("RobertaForMaskedLM", "mlm", ROBERTA, 20),
    "roberta_classify": ("RobertaForSequenceClassification", "regression",
                         dict(ROBERTA, num_labels=1), 20),
    "roberta_multilabel": ("RobertaForSequenceClassification", "multilabel",
                           dict(ROBERTA, num_labels=5,
                                problem_type="multi_label_classification"), 20),
    "esm_mlm": ("EsmForMaskedLM", "mlm",
                dict(ESM, position_embedding_type="rotary", token_dropout=True,
                     emb_layer_norm_before=False), 20),
    "esm_learned": ("EsmForMaskedLM", "mlm",
                    dict(ESM, position_embedding_type="absolute", token_dropout=False,
                         emb_layer_norm_before=True), 20),
    "esm_classify": ("EsmForSequenceClassification", "classes",
                     dict(ESM, position_embedding_type="rotary", token_dropout=True,
                          emb_layer_norm_before=False, num_labels=3), 20),
    "gpt2_classify": ("GPT2ForSequenceClassification", "classes",
                      dict(vocab_size=83, n_embd=30, n_layer=2, n_head=5, n_inner=49,
                           n_positions=48, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
                           pad_token_id=0, bos_token_id=82, eos_token_id=82, num_labels=3), 20),
    "llama_classify":
        ("LlamaForSequenceClassification", "classes",
         dict(LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=3,
              num_key_value_heads=1, intermediate_size=49, num_labels=4) | dict(pad_token_id=0), 20
        ),
    "llama_tokens": ("LlamaForTokenClassification", "tokens",
                     dict(LLAMA, hidden_size=30, num_hidden_layers=2, num_attention_heads=5,
                          num_key_value_heads=5, intermediate_size=49, num_labels=3) |
                     dict(pad_token_id=0, classifier_dropout=0.0), 20),
    "llama_base": ("LlamaModel", "base",
                   dict(LLAMA, hidden_size=28, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, head_dim=6, intermediate_size=49), 20),
}
PADDED = ("Bert", "DistilBert", "Roberta", "Esm")


@contextlib.contextmanager
def in_fp64():
    """Let everything the reference spells as fp32 be fp64."""
    saved = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = lambda self: self.double()
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved


def randomise(model, generator):
    gemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            norm = name.endswith("weight") and p.dim() == 1
            # its embeddings are scaled by sqrt(C): let the layers weigh as much
            wide = gemma and "embed" not in name
            attends = any(s in name for s in ("q_proj", "k_proj", "query", "key", "q_lin", "k_lin"))
            p.copy_((0 if gemma else 1) +
                    0.1 * noise if norm else (0.3 if wide or attends else 0.15) *
                    noise if p.dim() >= 2 else 0.1 * noise)


class Case:
    """The inputs and labels of one model."""

    def __init__(self, name, generator):
        class_name, self.kind, settings, T = MODELS[name]
        self.cls, self.name = getattr(hf, class_name), name
        config = copy.deepcopy(self.cls.config_class(**copy.deepcopy(settings)))
        config._attn_implementation = "eager"
        self.config = config
        self.encoder = class_name.startswith(PADDED) and self.kind != "logits"
        padded = self.encoder or (self.kind in ("classes", "tokens") and
                                  config.pad_token_id is not None)
        self.lengths = torch.tensor([T, T - 7, T - 13][:3] if padded else [T, T])
        if self.kind == "clm" and T > 30:
            self.lengths = self.lengths[:1]
        self.B, self.T, V = len(self.lengths), T, config.vocab_size
        self.real = torch.arange(T) < self.lengths[:, None]
        self.ids = torch.randint(4, V - 1, (self.B, T), generator=generator)
        self.type_ids = None
        if class_name.startswith("Bert"):
            self.type_ids = (torch.arange(T) >= self.lengths[:, None] // 2).long()
            self.type_ids[1] += 1
        self.labels = None
        n = config.num_labels
        if self.kind == "mlm":
            chosen = torch.rand(self.B, T, generator=generator) < 0.35
            chosen[:, 2] = True
            self.labels = torch.where(chosen & self.real, self.ids, -100)
            mask = V - 1
            self.ids = torch.where(chosen & (torch.rand(self.B, T, generator=generator) < 0.8),
                                   mask, self.ids)
        elif self.kind == "classes":
            self.labels = torch.randint(0, n, (self.B,), generator=generator)
        elif self.kind == "regression":
            self.labels = torch.randn(self.B, generator=generator)
        elif self.kind == "multilabel":
            self.labels = (torch.rand(self.B, n, generator=generator)
                           < 0.4).to(torch.get_default_dtype())
        elif self.kind == "tokens":
            self.labels = torch.randint(0, n, (self.B, T), generator=generator)
            self.labels[:, 0] = -100
        if padded:
            self.ids = torch.where(self.real, self.ids, config.pad_token_id)
            if self.type_ids is not None:
                self.type_ids = torch.where(self.real, self.type_ids, 0)
            if self.labels is not None and self.labels.shape == self.real.shape:
                self.labels = torch.where(self.real, self.labels, -100)

    def crop(self, T):
        short = copy.copy(self)
        short.T, short.ids, short.real = T, self.ids[:, :T], self.real[:, :T]
        short.lengths = torch.clamp(self.lengths, max=T)
        return short

    def inputs(self):
        made = {"input_ids": self.ids}
        if not self.real.all():
            made["attention_mask"] = self.real.long()
        if self.type_ids is not None:
            made["token_type_ids"] = self.type_ids
        return made

    def visible(self, x, axis=1):
        """x (..., B, T, ...) with zeros at padded positions."""
        shape = [1] * x.dim()
        shape[axis - 1], shape[axis] = self.B, self.T
        return torch.where(self.real.reshape(shape), x, torch.zeros((), dtype=x.dtype))


def compute(case, model):
    """Every golden tensor of one model but the greedy continuations."""
    fresh = copy.deepcopy(model)  # dynamic rope remembers the longest sequence it has seen
    golden = {}
    if case.kind == "base":
        out = fresh(**case.inputs(), output_attentions=True)
        golden["hidden"] = case.visible(out.last_hidden_state)
        if out.get("pooler_output") is not None:
            golden["pooled"] = out.pooler_output
    else:
        labels = case.ids if case.kind == "clm" else case.labels
        floating = labels is not None and labels.is_floating_point()
        labels = labels.to(model.dtype) if floating else labels
        out = fresh(**case.inputs(), labels=labels, output_attentions=True)
        golden["logits"] = case.visible(out.logits) if out.logits.dim() == 3 else out.logits
        if case.kind != "logits":
            golden["hidden"] = case.visible(
                copy.deepcopy(model).base_model(**case.inputs()).last_hidden_state)
            golden["loss"] = out.loss
            out.loss.backward()
            for name, p in fresh.named_parameters():
                if p.grad is not None:
                    golden["grad." + name] = p.grad
    if case.kind != "logits":
        attention = torch.stack(out.attentions)
        golden["attention"] = attention[:, :1] if case.real.all() else case.visible(
            attention.transpose(2, 3), 2).transpose(2, 3)
    return {k: v.detach().clone() for k, v in golden.items()}


def continue_greedily(model, prompt, n=30):
    """The whole sequence is computed again for each token: (tokens, smallest gap between the best
    two logits)."""
    ids, gap = prompt[None], math.inf
    model = copy.deepcopy(model)
    with torch.no_grad():
        for _ in range(n):
            best = model(ids, use_cache=False).logits[0, -1].topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            ids = torch.cat([ids, best.indices[:1][None]], 1)
    return ids[0, len(prompt):], gap


def continue_cached(model, prompt, n=30):
    out = copy.deepcopy(model).generate(prompt[None], do_sample=False, max_new_tokens=n,
                                        min_new_tokens=n, eos_token_id=None, pad_token_id=0)
    return out[0, len(prompt):]


def differences(case, golden, fp32):
    """Relative difference of the fp32 reference from fp64: outputs each by itself, gradients over
    all of them."""
    worst = {}
    for k in golden:
        if not k.startswith("grad."):
            worst[k] = ((golden[k] - fp32[k].double()).norm() / golden[k].norm()).item()
    grads = [k for k in golden if k.startswith("grad.")]
    if grads:
        off = math.sqrt(sum((golden[k] - fp32[k].double()).square().sum().item() for k in grads))
        worst["grads"] = off / math.sqrt(sum(golden[k].square().sum().item() for k in grads))
    for k, v in worst.items():
        assert v < 1e-5, f"{case.name}: {k} of the reference differs by {v} between fp32 and fp64"
    return max(worst.values())


def spell_like_v4(config, folder):
    """The same settings as files written before transformers 5 spell them."""
    old = dict(config)
    rope = dict(old.pop("rope_parameters"))
    old["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if kind == "llama3":
        old["rope_scaling"] = dict(rope, rope_type=kind)
    elif kind == "longrope":
        rope.pop("original_max_position_embeddings", None)
        old["rope_scaling"] = dict(rope, type=kind)
    old.pop("layer_types", None)
    old["torch_dtype"] = old.pop("dtype")
    old["transformers_version"] = "4.44.0"
    if old["model_type"] == "gemma2":
        old["hidden_act"], old["cache_implementation"] = old["hidden_activation"], "hybrid"
    with open(os.path.join(folder, "config_v4.json"), "w") as f:
        f.write(json.dumps(old, indent=2, sort_keys=True) + "\n")
    return old


def write(folder, name, tensors):
    tensors = {
        k: (v.int() if v.dtype == torch.int64 else v.to(torch.float32)
            if v.is_floating_point() else v).contiguous() for k, v in tensors.items()
    }
    save_file(
        tensors, os.path.join(folder, name), metadata={
            "torch": torch.__version__, "transformers": hf.__version__,
            "script": "tests/data/make_families.py"
        })


def in_file(key, model, stored):
    """A gradient's key with the parameter's name in the checkpoint, which differs for some
    (GPT-NeoX: embed_out is lm_head here)."""
    name = key.removeprefix("grad.")
    if name == key or name in stored:
        return key
    value = model.get_parameter(name)
    return "grad." + next(
        k for k, v in stored.items() if v.shape == value.shape and torch.equal(v, value))


def spell_like_published_esm(folder):
    """transformers 5.24 saves ESM's norms as gamma and beta, and its frequencies once under a name
    with a literal *. Published files say weight and bias, and repeat the frequencies in every
    layer. esm_learned stays as saved: both exist."""
    path = os.path.join(folder, "model.safetensors")
    with open(os.path.join(folder, "config.json")) as f:
        layers = json.load(f)["num_hidden_layers"]
    tensors = {}
    for key, value in load_file(path).items():
        key = key.replace("LayerNorm.gamma",
                          "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        tensors.update(
            {key.replace("*", str(i)): value.clone() for i in range(layers if "*" in key else 1)})
    save_file(tensors, path, metadata={"format": "pt"})


def golden_file(case, model32, model64):
    with in_fp64():
        golden = compute(case, model64)
    off = differences(case, golden, compute(case, model32))
    golden["ids"] = case.ids
    if case.type_ids is not None:
        golden["type_ids"] = case.type_ids
    if not case.real.all():
        golden["lengths"] = case.lengths
    if case.kind == "clm":
        golden["labels"] = torch.cat([case.ids[:, 1:], torch.full((case.B, 1), -100)], 1)
    elif case.labels is not None:
        golden["labels"] = case.labels
    return golden, off


class CloseCall(Exception):
    """A greedy choice between two nearly equal logits, which rounding could turn."""


def make(out, name, seed):
    generator = torch.Generator().manual_seed(seed)
    folder = os.path.join(out, name)
    case = Case(name, generator)
    model = case.cls(copy.deepcopy(case.config)).eval()
    if name == "bert_clm":
        model.load_state_dict(load_file(os.path.join(out, "bert_mlm", "model.safetensors")),
                              strict=False)
        model.tie_weights()
    else:
        randomise(model, generator)
    model.save_pretrained(folder)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    if name in ("esm_mlm", "esm_classify"):
        spell_like_published_esm(folder)
    model32, info = case.cls.from_pretrained(folder, attn_implementation="eager",
                                             output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    model32.eval()
    with in_fp64():
        model64 = case.cls(copy.deepcopy(model32.config)).double().eval()
        model64.config._attn_implementation = "eager"
        model64.load_state_dict(model32.state_dict())
    golden, off = golden_file(case, model32, model64)
    stored = load_file(os.path.join(folder, "model.safetensors"))
    golden = {in_file(k, model32, stored): v for k, v in golden.items()}
    grads = {k[5:] for k in golden if k.startswith("grad.")}
    assert grads <= set(stored), grads - set(stored)
    notes = ""
    if case.kind not in ("base", "logits") and grads != set(stored):
        notes += f", no gradient of {sorted(set(stored) - grads)}"
    if case.kind == "clm":
        prompts = [case.ids[0, :5], case.ids[-1, 4:15], case.ids[0, 2:4]]
        with in_fp64():
            greedy, gaps = zip(*(continue_greedily(model64, p) for p in prompts))
            cached = [continue_cached(model64, p) for p in prompts]
        if min(gaps) < 3e-4:
            raise CloseCall
        golden.update({f"prompt.{i}": p for i, p in enumerate(prompts)}, greedy=torch.stack(greedy))
        if not torch.equal(torch.stack(greedy), torch.stack(cached)):
            golden["greedy_cached"] = torch.stack(cached)
            notes += ", a cache changes the greedy tokens"
        n_distinct = len(set(torch.stack(greedy).flatten().tolist()))
        notes += f", {n_distinct} distinct greedy tokens, gap {min(gaps):.1e}"
    write(folder, "golden.safetensors", golden)
    if name == "phi3_longrope":
        short, short_off = golden_file(case.crop(14), model32, model64)
        write(folder, "golden_short.safetensors",
              {k: v for k, v in short.items() if not k.startswith("grad.")})
        off = max(off, short_off)
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    if name in ("llama3", "gemma2", "phi3_longrope"):
        old = spell_like_v4(config, folder)
        reread = case.cls.config_class(**old)
        reread._attn_implementation = "eager"
        again = case.cls(reread).eval()
        again.load_state_dict(model32.state_dict())
        assert torch.equal(again(case.ids).logits,
                           copy.deepcopy(model32)(
                               case.ids).logits), f"{name}: config_v4.json means another model"
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    loss = f", loss {golden['loss'].item():.4f}" if "loss" in golden else ""
    print(f"{name}: {size // 1024} KiB, fp32 off by {off:.1e}{loss}{notes}", flush=True)


if __name__ == "__main__":
    hf.logging.set_verbosity_error()
    for one in sys.argv[2:] or MODELS:
        for seed in range(20261124, 20261224):
            with contextlib.suppress(CloseCall):
                make(sys.argv[1], one, seed)
                break
