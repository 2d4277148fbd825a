#!/usr/bin/env python3
"""Golden values of how weights are found and what becomes of them, from the reference
implementation:
loading.json and the folder loading/, for tests/io/torch_file_test.cpp and
tests/infer/loading_test.cpp.

Run with torch, transformers and safetensors:  python tests/data/make_loading.py tests/data
"""
import collections
import io
import json
import os
import pathlib
import pickle
import shutil
import sys
import tempfile
import zipfile

import safetensors.torch
import torch
import transformers as hf

DATA = pathlib.Path(sys.argv[1])
OUT = DATA / "loading"
FAMILIES = DATA / "families"


def classifiers():
    """Which token a decoder's classifier reads: padding behind, before, within, alone; and without
    a pad token."""
    texts = [[5, 7, 9], [5, 7, 9, 0], [5, 7, 9, 0, 0, 0], [0, 0, 5, 7], [5, 0, 7, 0], [0, 0], [0],
             [0, 9, 0]]
    out = []
    for name in ("llama_classify", "gpt2_classify"):
        model = hf.AutoModelForSequenceClassification.from_pretrained(FAMILIES / name).eval()
        for pad in (0, None):
            model.config.pad_token_id = pad
            with torch.no_grad():
                logits = [model(torch.tensor([t])).logits[0].tolist() for t in texts]
            out.append({"model": name, "pad": pad, "texts": texts, "logits": logits})
    return out


def untied():
    """tie_word_embeddings, and a head beside the token table: the table's rows the other way round;
    the table
    itself; the head alone."""
    ids = [5, 17, 3, 90, 41, 8]
    source = DATA / "gpt2_h3"
    tensors = safetensors.torch.load_file(source / "model.safetensors")
    table = next(n for n in tensors if n.endswith("wte.weight"))
    out = {"ids": ids}
    for kind in ("other", "same", "alone"):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(source / "config.json", folder)
            changed = dict(tensors)
            changed["lm_head.weight"] = (tensors[table].flip(0)
                                         if kind == "other" else tensors[table]).clone()
            if kind == "alone":
                del changed[table]
            safetensors.torch.save_file(changed, os.path.join(folder, "model.safetensors"),
                                        {"format": "pt"})
            model = hf.AutoModelForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        out[kind] = [p[i, t].item() for i, t in enumerate(ids[1:])]
    return out


def new_tokens():
    """resize_token_embeddings: means, and what becomes of biases."""
    out = []
    cases = (("llama2", hf.LlamaForCausalLM, False), ("bert_mlm", hf.BertForMaskedLM, True),
             ("bert_mlm", hf.BertForMaskedLM, False))
    for name, cls, tied in cases:
        model = cls.from_pretrained(FAMILIES / name, tie_word_embeddings=tied)
        old = model.config.vocab_size
        head = model.get_output_embeddings()
        if not tied:
            head.weight = torch.nn.Parameter(
                model.get_input_embeddings().weight.detach().flip(1).clone())
            if head.bias is not None:
                head.bias = torch.nn.Parameter(model.cls.predictions.bias.detach().clone())
        model.resize_token_embeddings(old + 3)
        head = model.get_output_embeddings()
        entry = {
            "model": name, "tied": tied, "old": old,
            "table": model.get_input_embeddings().weight[old].tolist(),
            "head": head.weight[old].tolist()
        }
        if head.bias is not None:
            entry["bias"] = head.bias[old].item()
        out.append(entry)
    return out


class Runs:

    def __reduce__(self):
        return os.system, ("echo it ran",)


def torch_files():
    """What torch.save writes, and what is no state dict."""
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    tensors = collections.OrderedDict(whole=base,
                                      columns=base[:, 1:4],
                                      turned=base.t(),
                                      row=base[2],
                                      every_other=base[:, ::2],
                                      cube=base.view(2, 3, 4).permute(2, 0, 1),
                                      bf16=torch.tensor([1.5, -2.25, 3.0]).bfloat16(),
                                      f16=torch.tensor([0.5, -65504.0]).half(),
                                      f64=torch.tensor([1e-3, 2.0], dtype=torch.float64),
                                      parameter=torch.nn.Parameter(torch.tensor([7.0, 8.0])),
                                      scalar=torch.tensor(2.5),
                                      empty=torch.zeros(0, 3))
    values = {
        name: {"shape": list(t.shape), "values": t.detach().float().flatten().tolist()}
        for name, t in tensors.items()
    }
    others = dict(i64=torch.arange(3),
                  u16=torch.zeros(2, dtype=torch.uint16),
                  complex=torch.zeros(2, dtype=torch.complex64),
                  f8=torch.zeros(2, dtype=torch.float8_e4m3fn),
                  repeated=torch.tensor([[1.0], [2.0]]).expand(2, 3))
    tensors.update(others)
    torch.save(tensors, OUT / "tensors.bin")
    torch.save(dict(tensors), OUT / "protocol4.bin", pickle_protocol=4)
    torch.serialization.set_crc32_options(False)
    torch.save(tensors, OUT / "without_crc.bin")
    torch.serialization.set_crc32_options(True)
    torch.save({"a": base}, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"a": base, "hook": Runs()}, OUT / "runs.bin")
    torch.save(torch.nn.Linear(2, 2), OUT / "module.bin")
    torch.save({"epoch": 3, "state_dict": {"a": base}}, OUT / "nested.bin")
    torch.jit.script(torch.nn.Linear(2, 2)).save(OUT / "script.bin")
    with zipfile.ZipFile(OUT / "tensors.bin") as whole, zipfile.ZipFile(
            OUT / "deflated.bin", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.namelist():
            packed.writestr(zipfile.ZipInfo(entry), whole.read(entry), zipfile.ZIP_DEFLATED)
    return {"values": values, "unreadable": sorted(others)}


def models():
    """pytorch_model.bin of old: LayerNorm's gamma and beta, a head that shares its table's storage,
    two shards."""
    model = hf.BertForMaskedLM.from_pretrained(FAMILIES / "bert_mlm")
    state = model.state_dict()
    old = collections.OrderedDict()
    for name, t in state.items():
        old[name.replace("LayerNorm.weight",
                         "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = t
    folder = OUT / "bert_old"
    folder.mkdir()
    shutil.copy(FAMILIES / "bert_mlm" / "config.json", folder)
    torch.save(old, folder / "pytorch_model.bin")
    folder = OUT / "llama_shards"
    folder.mkdir()
    shutil.copy(FAMILIES / "llama2" / "config.json", folder)
    state = list(hf.LlamaForCausalLM.from_pretrained(FAMILIES / "llama2").state_dict().items())
    weight_map = {}
    for number, part in enumerate((state[:len(state) // 2], state[len(state) // 2:]), 1):
        name = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({n: t.clone() for n, t in part}, folder / name)
        weight_map.update({n: name for n, _ in part})
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    result = {"versions": {"transformers": hf.__version__, "torch": torch.__version__}}
    result["torch_files"] = torch_files()
    models()
    result["classifiers"] = classifiers()
    result["untied"] = untied()
    result["new_tokens"] = new_tokens()
    (DATA / "loading.json").write_text(json.dumps(result, indent=None) + "\n")


main()
