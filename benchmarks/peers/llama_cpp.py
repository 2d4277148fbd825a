"""llama.cpp's server as a side of generation_jobs.py: the same weights as GGUF in fp32, the same
prompts as token ids, as many sequences at once as Weft's engine takes, continuous batching.

Needs xllamacpp (llama.cpp built for Python), gguf, numpy.
"""
import concurrent.futures
import json
import time
import urllib.request

import gguf
import numpy as np
import xllamacpp

MATRICES = {
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down"
}
NORMS = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}


def write_gpt2(path, model, tokenizer):
    """transformers' GPT-2 as llama.cpp's convert_hf_to_gguf.py writes it, in fp32."""
    c = model.config
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_block_count(c.n_layer)
    w.add_context_length(c.n_positions)
    w.add_embedding_length(c.n_embd)
    w.add_feed_forward_length(4 * c.n_embd)
    w.add_head_count(c.n_head)
    w.add_layer_norm_eps(c.layer_norm_epsilon)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list([tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))])
    w.add_token_types([gguf.TokenType.NORMAL] * len(tokenizer))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    for name, tensor in model.state_dict().items():
        x = tensor.detach().float().numpy()
        name = name.removeprefix("transformer.")
        if name.startswith("h."):
            _, layer, part = name.split(".", 2)
            stem, kind = part.rsplit(".", 1)
            if stem in MATRICES and kind == "weight":
                x = x.T
            to = f"blk.{layer}.{(MATRICES | NORMS)[stem]}.{kind}"
        else:
            to = {
                "wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight",
                "ln_f.weight": "output_norm.weight", "ln_f.bias": "output_norm.bias",
                "lm_head.weight": "output.weight"
            }[name]
        w.add_tensor(to, np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Llama:
    """A server that stays for all rounds: loading does not count."""

    def __init__(self, path, context, threads, at_once=32):
        p = xllamacpp.CommonParams()
        p.model.path = str(path)
        p.n_parallel = at_once
        p.n_ctx = at_once * context
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
        p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        p.cont_batching = True
        p.cache_ram_mib = 0
        p.warmup = False
        p.verbosity = 0
        self.at_once = at_once
        self.server = xllamacpp.Server(p)

    def complete(self, request):
        ids, n = request
        body = {
            "prompt": ids, "n_predict": n, "temperature": 0, "ignore_eos": True,
            "cache_prompt": False, "return_tokens": True
        }
        call = urllib.request.Request(self.server.listening_address + "/completion",
                                      json.dumps(body).encode(),
                                      {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=3600) as answer:
            return json.loads(answer.read())["tokens"]

    def run(self, requests):
        """Seconds, and the new tokens of each of [(ids, new tokens)]."""
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(2 * self.at_once) as pool:
            tokens = list(pool.map(self.complete, requests))
        return time.perf_counter() - started, tokens
