#!/usr/bin/env python3
"""Tokenizer folders of every shape (vocabulary files, tokenizer_config.json,
special_tokens_map.json, added_tokens.json, config.json) and what
AutoTokenizer makes of them, for tests/text/tokenizer_folders_test.cpp.

    python tests/data/make_tokenizer_folders.py tests/data/tokenizer_folders.json
Files that begin with @ are those of tests/data. Made with transformers 5.24.0, tokenizers 0.23.3,
sentencepiece 0.2.3, protobuf 7.36.2 (which
transformers needs to read a tokenizer.model).
"""
import json
import os
import shutil
import sys
import tempfile
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
import transformers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

DATA = os.path.dirname(os.path.abspath(__file__))
ROLES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
TEXTS = [
    "The old house", " two  spaces ", "a<|turn|>b <|done|> c", "x <s>y</s> z", "▁mark ▁",
    "Caf\u00e9 \u00c9T\u00c9 e\u0301", "日本 語", "line\n\tend \n", "[MASK]a [PAD] <pad><mask>",
    "<|endoftext|> it's <e1>", "TURN turn <|TURN|>", ""
]


def token(content, special=True, **flags):
    return {
        "content": content, "lstrip": False, "rstrip": False, "normalized": False,
        "single_word": False, "special": special, **flags
    }


def spm(model, config=None, ids=None, roles=None, hf=None):
    return folder({"tokenizer.model": f"@sentencepiece/{model}.model"}, config, ids, roles, hf)


def folder(files, config=None, ids=None, roles=None, hf=None):
    more = {
        "tokenizer_config.json": config, "added_tokens.json": ids, "special_tokens_map.json": roles,
        "config.json": hf
    }
    return {
        **files, **{name: json.dumps(value) for name, value in more.items() if value is not None}
    }


def part(name):
    with open(os.path.join(DATA, "tokenizers", name, "tokenizer.json"), encoding="utf-8") as f:
        return json.load(f)


def merges_files():
    model = part("gpt2")["model"]
    lines = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {
        "vocab.json": json.dumps(model["vocab"]),
        "merges.txt": "#version: 0.2\n" + "\n".join(lines) + "\n"
    }


def roberta_files():
    files = merges_files()
    vocab = json.loads(files["vocab.json"])
    for name in ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]:
        vocab[name] = len(vocab)
    return {**files, "vocab.json": json.dumps(vocab)}


BERT = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "old", "house", "##s", "cafe",
    "caf", "##é", "##e", "é", "ete", "日", "##本", "日本", "語", "a", "##a", "x", "two", "turn",
    "TURN",
    "it", "'", "s", "[", "]", "<", ">", "|", "##b", "b", "c"
]
ESM = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
LLAMA = {
    "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
    "unk_token": "<unk>"
}
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}


def cases():
    n = 400  # pieces of bpe_llama and bpe_gemma
    two = {str(n): token("<|turn|>"), str(n + 1): token("<|done|>", rstrip=True)}
    yield "spm_bare", spm("bpe_llama")
    yield "spm_llama_bos", spm("bpe_llama",
                               {**LLAMA, "add_bos_token": True, "add_eos_token": False})
    yield "spm_llama_no_flags", spm("bpe_llama", LLAMA)
    yield "spm_llama_both", spm(
        "bpe_llama", {
            **LLAMA, "add_bos_token": True, "add_eos_token": True, "eos_token": "<|done|>",
            "added_tokens_decoder": two
        }, {"<|turn|>": n, "<|done|>": n + 1})
    yield "spm_llama_legacy", spm("bpe_llama", {**LLAMA, "legacy": True, "add_bos_token": True})
    yield "spm_llama_no_prefix", spm("bpe_llama",
                                     {**LLAMA, "add_prefix_space": False, "add_eos_token": True})
    yield "spm_llama_ids_alone", spm("bpe_llama", LLAMA, {"<|turn|>": n, "<|done|>": n + 1},
                                     {"eos_token": "<|done|>", "pad_token": "<pad>"})
    yield "spm_llama_special_map", spm("bpe_llama", LLAMA, {"<|TURN|>": n}, {
        "eos_token": {
            "content": "<|done|>", "lstrip": True, "rstrip": False, "normalized": False,
            "single_word": False
        }, "additional_special_tokens": ["<|turn|>"]
    })
    yield "spm_llama_pad", spm(
        "bpe_llama", {
            **LLAMA, "pad_token": "[PAD]", "extra_special_tokens": ["<e1>", "<|turn|>"],
            "image_token": "<|done|>"
        })
    yield "spm_llama_of_unigram", spm("unigram_plain", {**LLAMA, "add_bos_token": True})
    yield "spm_llama_defined", spm("bpe_gemma", LLAMA)
    yield "spm_llama_of_mistral", spm("bpe_llama", {**LLAMA, "add_bos_token": True},
                                      hf={"model_type": "mistral"})
    yield "spm_llama_of_llama", spm("bpe_llama", {**LLAMA, "add_bos_token": True},
                                    hf={"model_type": "llama"})
    yield "spm_llama_of_phi3", spm("bpe_llama", {
        **LLAMA, "add_bos_token": True,
        "added_tokens_decoder": {**two, "300": token("<|TURN|>", rstrip=True)}
    },
                                   hf={"model_type": "phi3"})
    yield "spm_class_in_config", spm(
        "bpe_llama", {"add_bos_token": True},
        hf={"model_type": "llama", "tokenizer_class": "LlamaTokenizer"})
    yield "spm_fast", spm(
        "bpe_llama", {
            **FAST, "add_bos_token": True,
            "added_tokens_decoder": {str(n): token("<|turn|>", False, normalized=True)}
        })
    yield "spm_fast_not_legacy", spm(
        "bpe_llama", {**FAST, "legacy": False, "add_eos_token": True, "added_tokens_decoder": two})
    yield "spm_fast_gemma", spm("bpe_gemma", {**FAST, "add_bos_token": True})
    yield "spm_fast_ids_alone", spm("bpe_gemma", FAST, {"<|turn|>": n, "<|done|>": n + 1},
                                    {"eos_token": "<|done|>"})
    yield "spm_gemma", spm(
        "bpe_gemma", {
            "tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>",
            "eos_token": "</s>"
        })
    yield "spm_gemma_of_config", spm("bpe_gemma", hf={"model_type": "gemma"})
    yield "spm_unigram", spm(
        "unigram_table",
        {**FAST, "pad_token": "<pad>", "added_tokens_decoder": {"90": token("<|turn|>")}})
    yield "spm_unigram_defined", spm("unigram_defined", {**FAST, "add_eos_token": True})
    yield "spm_unknown_class", spm("bpe_table", {"tokenizer_class": "SomebodysTokenizer"})

    gpt2 = {"tokenizer_class": "GPT2Tokenizer"}
    yield "merges_gpt2", folder(merges_files(), gpt2)
    yield "merges_prefix_bos", folder(
        merges_files(),
        {**gpt2, "add_prefix_space": True, "add_bos_token": True, "errors": "replace"})
    yield "merges_eos_pad", folder(merges_files(),
                                   {**gpt2, "add_eos_token": True, "pad_token": "<pad>"},
                                   {"<|turn|>": len(part("gpt2")["model"]["vocab"])})
    yield "merges_of_gpt2", folder(merges_files(), None, None, {"pad_token": "[PAD]"},
                                   {"model_type": "gpt2"})
    yield "merges_neox", folder(
        merges_files(),
        {"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True, "add_prefix_space": True})
    yield "merges_qwen2", folder(merges_files(), {
        "tokenizer_class": "Qwen2Tokenizer", "additional_special_tokens": ["<|turn|>", "<|done|>"]
    })
    yield "merges_roberta", folder(
        roberta_files(), {
            "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True,
            "mask_token": {"__type": "AddedToken", **token("<mask>", lstrip=True)}
        })
    yield "merges_of_roberta", folder(roberta_files(), hf={"model_type": "roberta"})

    bert = {"vocab.txt": "\n".join(BERT) + "\n"}
    yield "bert", folder(bert, {"tokenizer_class": "BertTokenizer"})
    yield "bert_cased", folder(bert, {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    yield "bert_accents", folder(
        bert, {
            "tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "strip_accents": True,
            "tokenize_chinese_chars": False
        })
    yield "bert_keeps_accents", folder(
        bert, {
            "tokenizer_class": "BertTokenizer", "strip_accents": False, "add_bos_token": True,
            "bos_token": "[CLS]"
        })
    yield "bert_ids", folder({"vocab.txt": "\r\n".join(BERT[:4] + BERT[5:]) + " \r\n"},
                             {"tokenizer_class": "BertTokenizer"}, {"<|turn|>": len(BERT) - 1})
    yield "bert_of_config", folder(bert, None, None, {"mask_token": "<mask>"},
                                   {"model_type": "bert"})
    yield "esm", folder({"vocab.txt": "\n".join(ESM)}, {"tokenizer_class": "EsmTokenizer"})

    words = part("wordlevel")
    own = {"tokenizer.json": json.dumps(words)}
    behind = max([*words["model"]["vocab"].values(), *[t["id"] for t in words["added_tokens"]]]) + 1
    yield "json_pad", folder(own, {**FAST, "pad_token": "[PAD]", "add_bos_token": True})
    yield "json_map_wins", folder(own, {**FAST, "eos_token": "the"}, None, {
        "eos_token": "old", "pad_token": {
            "content": "<pad>", "lstrip": True, "rstrip": False, "normalized": False,
            "single_word": False
        }
    })
    yield "json_decoder", folder(
        own, {
            **FAST, "eos_token": "<|done|>", "added_tokens_decoder": {
                str(behind): token("<|turn|>", False),
                str(behind + 1): token("<|done|>", False, lstrip=True)
            }
        }, None, {"eos_token": "the"})
    yield "json_extra", folder(
        own, {
            **FAST, "extra_special_tokens": {"a_token": "<e1>"},
            "additional_special_tokens": ["<|turn|>"], "image_token": "<|done|>"
        })
    yield "json_ids", folder(own, {**FAST, "eos_token": "<|done|>"},
                             {"<|turn|>": behind, "<|done|>": behind + 1})


def golden(files):
    with tempfile.TemporaryDirectory() as where:
        for name, content in files.items():
            if content.startswith("@"):
                shutil.copy(os.path.join(DATA, content[1:]), os.path.join(where, name))
            else:
                with open(os.path.join(where, name), "w", encoding="utf-8", newline="") as f:
                    f.write(content)
        t = AutoTokenizer.from_pretrained(where)
    texts = []
    for text in TEXTS:
        ids = t(text)["input_ids"]
        texts.append([
            ids,
            t(text, add_special_tokens=False)["input_ids"],
            t.decode(ids),
            t.decode(ids, skip_special_tokens=True)
        ])
    return {
        "class": type(t).__name__, "len": len(t), "roles": {
            r: [getattr(t, r), getattr(t, r + "_id")] for r in ROLES if getattr(t, r) is not None
        }, "texts": texts, "pair": t("a old", "house")["input_ids"]
    }


def main(out):
    made = {"transformers": transformers.__version__, "texts": TEXTS, "cases": []}
    for name, files in cases():
        made["cases"].append({"name": name, "files": files, **golden(files)})
        print(name, made["cases"][-1]["class"], made["cases"][-1]["len"])
    with open(out, "w", encoding="utf-8") as f:
        f.write(json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
