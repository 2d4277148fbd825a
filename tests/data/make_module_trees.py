#!/usr/bin/env python3
"""Golden module trees from the reference implementation, for tests/inspect/module_tree_test.cpp:
what print(model) shows.

Run with torch and transformers 5.24:
    python tests/data/make_module_trees.py tests/data/families tests/data/module_trees
A file's first line is a JSON object: `of` names a model of tests/data/families (null: an empty
config.json), `set` the keys of its config.json that are other. The tree follows.
"""
import json
import os
import sys

import torch
import transformers as hf

DECODER = ("ForCausalLM", "Model", "ForSequenceClassification", "ForTokenClassification")
ENCODER = ("ForMaskedLM", "Model", "ForSequenceClassification", "ForTokenClassification")
# model_type: (model of tests/data/families, class, its heads, the key of the number of layers)
FAMILIES = {
    "gpt2": ("gpt2_classify", "GPT2", ("LMHeadModel", *DECODER[1:]), "n_layer"),
    "gpt_neox": ("gptneox_parallel", "GPTNeoX", DECODER, "num_hidden_layers"),
    "llama": ("llama2", "Llama", DECODER, "num_hidden_layers"),
    "mistral": ("mistral", "Mistral", DECODER, "num_hidden_layers"),
    "qwen2": ("qwen2", "Qwen2", DECODER, "num_hidden_layers"),
    "qwen3": ("qwen3", "Qwen3", DECODER, "num_hidden_layers"),
    "olmo2": ("olmo2", "Olmo2", DECODER[:3], "num_hidden_layers"),
    "phi3": ("phi3", "Phi3", DECODER, "num_hidden_layers"),
    "gemma": ("gemma", "Gemma", DECODER, "num_hidden_layers"),
    "gemma2": ("gemma2", "Gemma2", DECODER, "num_hidden_layers"),
    "bert": ("bert_mlm", "Bert", ("LMHeadModel", *ENCODER), "num_hidden_layers"),
    "distilbert": ("distilbert_mlm", "DistilBert", ENCODER, "n_layers"),
    "roberta": ("roberta_mlm", "Roberta", ("ForCausalLM", *ENCODER), "num_hidden_layers"),
    "xlm-roberta": ("roberta_mlm", "XLMRoberta", ("ForCausalLM", *ENCODER), "num_hidden_layers"),
    "esm": ("esm_mlm", "Esm", ENCODER, "num_hidden_layers"),
}
# What a config may say and the models above do not.
OTHER = {
    "llama_biases":
        ("llama2", dict(attention_bias=True, mlp_bias=True, hidden_act="relu", rms_norm_eps=1e-05)),
    "llama_swish": ("llama2",
                    dict(hidden_act="swish",
                         pad_token_id=-1,
                         num_hidden_layers=3,
                         rms_norm_eps=9.999999974752427e-07)),
    "llama_one_label": ("llama2",
                        dict(architectures=["LlamaForSequenceClassification"],
                             num_labels=1,
                             num_hidden_layers=1)),
    "llama_dropouts": ("llama2",
                       dict(architectures=["LlamaForTokenClassification"],
                            hidden_dropout=0.25,
                            classifier_dropout=None)),
    "qwen2_no_pad": ("qwen2",
                     dict(pad_token_id=None, use_sliding_window=False, hidden_act="gelu_fast")),
    "phi3_dropouts": ("phi3", dict(pad_token_id=0, resid_pdrop=0.15, embd_pdrop=0.35)),
    "gemma_legacy": ("gemma",
                     dict(hidden_act="gelu",
                          hidden_activation=None,
                          attention_bias=True,
                          pad_token_id=0)),
    "gemma_gelu_new": ("gemma", dict(hidden_act="gelu_new")),
    "gemma2_silu": ("gemma2", dict(hidden_activation="silu", pad_token_id=5)),
    "gptneox_no_bias": ("gptneox_parallel",
                        dict(attention_bias=False,
                             hidden_dropout=0,
                             hidden_act="gelu_new",
                             layer_norm_eps=0.001)),
    "gpt2_dropouts": ("gpt2_classify",
                      dict(architectures=["GPT2ForTokenClassification"],
                           embd_pdrop=0.1,
                           attn_pdrop=0.2,
                           resid_pdrop=0.3,
                           classifier_dropout=0.4,
                           activation_function="gelu_pytorch_tanh",
                           layer_norm_epsilon=1e-06)),
    "bert_dropouts": ("bert_classify",
                      dict(hidden_dropout_prob=0,
                           attention_probs_dropout_prob=0.125,
                           classifier_dropout=None,
                           hidden_act="gelu_python",
                           pad_token_id=None,
                           type_vocab_size=1)),
    "distilbert_dropouts": ("distilbert_classify",
                            dict(dropout=0.15,
                                 attention_dropout=0.05,
                                 seq_classif_dropout=0.35,
                                 activation="relu")),
    "roberta_pad": ("roberta_classify",
                    dict(pad_token_id=4, classifier_dropout=0.3, hidden_dropout_prob=0.2)),
    "esm_pad": ("esm_mlm",
                dict(emb_layer_norm_before=True, hidden_dropout_prob=0.1, pad_token_id=None)),
}


def cases(families):
    for name in sorted(os.listdir(families)):
        yield name, name, {}
    for kind, (model, name, heads, layers) in FAMILIES.items():
        for head in heads:
            change = {} if kind != "xlm-roberta" else {"model_type": kind}
            yield f"{kind}.{head}", model, change | {"architectures": [name + head]}
        # What the class has no default for, or none that a published model has.
        needed = {
            "esm": {"vocab_size": 33, "mask_token_id": 32, "pad_token_id": 1},
            "xlm-roberta": {"vocab_size": 250002}
        }.get(kind, {})
        yield f"{kind}.defaults", None, needed | {
            "model_type": kind, "architectures": [name + heads[0]], layers: 1
        }
    for name, (model, change) in OTHER.items():
        yield name, model, change


def tree(config):
    cls = getattr(hf, config["architectures"][0])
    with torch.device("meta"):
        return str(cls(cls.config_class.from_dict(config)))


if __name__ == "__main__":
    assert hf.__version__.startswith("5.24."), hf.__version__
    hf.logging.set_verbosity_error()
    families, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name, model, change in cases(families):
        config = {}
        if model:
            with open(os.path.join(families, model, "config.json")) as f:
                config = json.load(f)
        with open(os.path.join(out, name + ".txt"), "w") as f:
            f.write(json.dumps({"of": model, "set": change}) + "\n" + tree(config | change) + "\n")
