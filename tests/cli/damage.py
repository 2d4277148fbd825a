# Makes the damaged models that tests/cli/bad.bats gives to weft:   damage.py MODEL_DIR OUT_DIR
# Each is a folder named after its damage, a copy of the model with one file made wrong.
import json, os, pathlib, shutil, struct, sys

model, out = map(pathlib.Path, sys.argv[1:])
content = (model / "model.safetensors").read_bytes()
size = struct.unpack("<Q", content[:8])[0]
header, data = json.loads(content[8:8 + size]), content[8 + size:]
config = json.loads((model / "config.json").read_text())
first, second = sorted((n for n in header if n != "__metadata__"),
                       key=lambda n: header[n]["data_offsets"])[:2]
last = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][1])


def folder(name):
    path = out / name
    shutil.copytree(model, path)
    return path


def whole(text, body=data):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text)) + text + body


def weights(name, body):
    (folder(name) / "model.safetensors").write_bytes(body)


def changed(name, tensor, **entries):
    new = json.loads(json.dumps(header))
    new[tensor].update(entries)
    weights(name, whole(new))


def configured(name, **entries):
    (folder(name) / "config.json").write_text(json.dumps({**config, **entries}))


os.remove(folder("no_weights") / "model.safetensors")
os.remove(folder("no_config") / "config.json")
weights("empty", b"")
weights("truncated", content[:-100])
weights("truncated_header", content[:8 + size // 2])
weights("header_length", struct.pack("<Q", 1 << 60) + content[8:])
weights("not_json", whole(b"{" * 200))
weights("deep", whole(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}"))
weights(
    "twice",
    whole(
        json.dumps(header)[:-1].encode() + f', "{first}": {json.dumps(header[first])}}}'.encode()))
weights("more_data", content + b"\0" * 16)
changed("overlap", second, data_offsets=[o - 4 for o in header[second]["data_offsets"]])
changed("out_of_range", last, data_offsets=[o + 1000 for o in header[last]["data_offsets"]])
changed("negative_offset", first, data_offsets=[-8, 0])
changed("dtype", first, dtype="F8_E4M3")
changed("integers", first, dtype="I32")
changed("sizes", first, shape=[1 << 40, 1 << 40])
changed("shape",
        first,
        shape=header[first]["shape"][::-1] if len(set(header[first]["shape"])) > 1 else [1] +
        header[first]["shape"])
renamed = {("other" if n == last else n): entry for n, entry in header.items()}
weights("missing_tensor", whole(renamed))
for name, value in (("nan", float("nan")), ("infinity", float("-inf"))):
    at = header[last]["data_offsets"][1] - 4  # in the last rank's slice
    weights(name, whole(header, data[:at] + struct.pack("<f", value) + data[at + 4:]))
at = header["transformer.wte.weight"]["data_offsets"][1] - 4  # in the last rank's slice
weights("too_large_for_fp16", whole(header, data[:at] + struct.pack("<f", 7e4) + data[at + 4:]))
# finite itself, but no logits come of it
begin, end = header["transformer.ln_f.weight"]["data_offsets"]
weights("hot",
        whole(header, data[:begin] + struct.pack("<f", 3e38) * ((end - begin) // 4) + data[end:]))
path = folder("index")
os.rename(path / "model.safetensors", path / "part.safetensors")
(path / "model.safetensors.index.json").write_text(
    json.dumps({
        "weight_map": {
            n: "part.safetensors" if n != last else "absent.safetensors" for n in header
        }
    }))
path = folder("index_lies")
os.rename(path / "model.safetensors", path / "part.safetensors")
(path / "model.safetensors.index.json").write_text(
    json.dumps({"weight_map": {"absent.weight": "part.safetensors"}}))

configured("family", model_type="lllama")
configured("no_family", model_type=None)
configured("heads", n_head=-3)
configured("odd_heads", n_head=5)
configured("layers", n_layer=10**12)
configured("text_for_number", n_embd="48")
configured("fraction", n_layer=2.5)
configured("epsilon", layer_norm_epsilon=0)
configured("activation", activation_function="swishish")
configured("bos", bos_token_id=50256)
configured("eos", bos_token_id=0, eos_token_id=50256)
os.remove(out / "eos" / "generation_config.json")
configured("wider", n_embd=2 * config["n_embd"])
configured("huge", n_embd=1 << 20, n_head=1 << 10, n_layer=10000, vocab_size=1 << 26)
for name, text in (("config_list", "[]"), ("config_broken",
                                           '{"model_type": "gpt2",\n  "n_layer": }'),
                   ("config_nan", '{"model_type": "gpt2", "layer_norm_epsilon": NaN}'),
                   ("config_deep",
                    '{"model_type": "gpt2", "n_layer": ' + "[" * 100000 + "]" * 100000 + "}"),
                   ("config_empty", "")):
    (folder(name) / "config.json").write_text(text)
path = folder("tokenizer")
(path / "tokenizer.json").write_text((path / "tokenizer.json").read_text()[:-500])
path = folder("generation")
(path / "generation_config.json").write_text('{"temperature": "warm"}')
path = folder("weights_folder")
os.remove(path / "model.safetensors")
os.mkdir(path / "model.safetensors")
