# weft convert: models between their forms, whole or not at all.
load weft

setup_file() { make_model; }
setup() { in_folder; }

@test "convert: every family to a checkpoint and back, bit for bit" {
  for model in "$DATA"/families/* "$DATA/gpt2_h3"; do
    name=$(basename "$model")
    ok 1 convert "$model" one.h5 --json --overwrite
    json out 'list(lines[0]) == ["tensors", "bytes"]' 'lines[0]["tensors"] > 10'
    ok 1 convert one.h5 "$name" --json
    python3 - "$model" "$name" <<'PY'
import json, struct, sys

def tensors(folder):
    data = open(folder + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {
        name: (t["dtype"], t["shape"],
               data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
        for name, t in header.items()
    }

a, b = tensors(sys.argv[1]), tensors(sys.argv[2])

# base models have no prefix there; old ESM-1b files call a norm's parts gamma and beta
def plain(name):
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            name = name[:-len(old)] + new
    return name

a = {plain(name): value for name, value in a.items()}
for name, value in b.items():
    short = name.split(".", 1)[1]
    assert a.get(name, a.get(short)) == value, (sys.argv[1], name)
PY
    rm -r "$name"
  done
}

@test "convert: ESM's contact head goes from folder to folder, as transformers' class wants it" {
  cp -r "$DATA/families/esm_mlm" with
  python3 - with <<'PY'
import json, struct, sys

data = bytearray(open(sys.argv[1] + "/model.safetensors", "rb").read())
n = struct.unpack("<Q", data[:8])[0]
# numbers that bf16 can hold and that tell their places
for name, t in json.loads(bytes(data[8:8 + n])).items():
    if "contact_head" in name:
        begin, end = (8 + n + at for at in t["data_offsets"])
        data[begin:end] = struct.pack(f"<{t['shape'][-1]}f",
                                      *[0.25 * i - 1 for i in range(t["shape"][-1])])
open(sys.argv[1] + "/model.safetensors", "wb").write(data)
PY
  ok 1 convert with full
  ok 2 convert with half --dtype bf16 --json
  json out 'lines[0]["tensors"] > 2'
  python3 - <<'PY'
import json, struct

def tensors(folder):
    data = open(folder + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {
        name: (t["dtype"], t["shape"],
               data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
        for name, t in header.items() if name[0] != "_"
    }

old, full, half = map(tensors, ("with", "full", "half"))
assert set(old) <= set(full), set(old) - set(full)
# frequencies keep their precision
assert all(half[name] == old[name] for name in old if "inv_freq" in name)
for name in ("esm.contact_head.regression.weight", "esm.contact_head.regression.bias"):
    assert full[name] == old[name] and half[name][:2] == ("BF16", old[name][1])
    bits = half[name][2]
    wide = [struct.unpack("<f", b"\0\0" + bits[i:i + 2])[0] for i in range(0, len(bits), 2)]
    assert wide == [0.25 * i - 1 for i in range(len(wide))], wide
PY
}

@test "convert: a GGUF file to a folder and to a checkpoint, bit for bit as transformers reads it" {
  for name in llama llama_quantised; do
    ok 2 convert "$DATA/gguf/$name.gguf" $name --tp 2 --json
    ok 1 convert "$DATA/gguf/$name.gguf" c.h5 --overwrite
    ok 1 convert c.h5 $name.2
    python3 - "$DATA/gguf/$name.safetensors" $name/model.safetensors $name.2/model.safetensors \
      <<'PY'
import json, struct, sys

def tensors(file):
    data = open(file, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {
        name: (t["shape"], data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
        for name, t in header.items()
    }

golden, one, two = map(tensors, sys.argv[1:])
assert one and two and all(
    golden[name] == value for name, value in one.items() if len(golden[name][1]) == len(value[1]))
assert sum(len(golden[name][1]) == len(value[1]) for name, value in two.items()) > 5
assert all(
    golden[name] == value for name, value in two.items() if len(golden[name][1]) == len(value[1]))
PY
  done
}

@test "convert: a run's checkpoint and its folder are one model, dtypes and shards" {
  ok 3 convert "$S/run/checkpoints/step-00000004.h5" folder
  cmp folder/model.safetensors "$S/run/model/model.safetensors"
  cmp folder/tokenizer.json "$S/run/model/tokenizer.json"
  ok 1 convert "$S/run/model" half --dtype bf16 --max-shard-size 20KB --json
  json out 'lines[0]["bytes"] > 0'
  [ -s half/model.safetensors.index.json ] && [ -s half/model-00002-of-0000*.safetensors ] ||
    ls half | grep -q 'model-00002-of'
  grep -q '"dtype": "bfloat16"' half/config.json
  for file in tokenizer.json tokenizer_config.json generation_config.json; do
    cmp half/$file "$S/run/model/$file"
  done
  ok 1 convert half half2
  grep -q '"dtype": "bfloat16"' half2/config.json
  ok 1 generate --model half --prompt 'The cat' --json
  cp out one
  ok 1 generate --model half2 --prompt 'The cat' --json
  cmp out one
  ok 1 convert "$S/run/model" again.h5
  ok 1 generate --model again.h5 --prompt 'The cat' --json
  cp out one
  ok 1 generate --model "$S/run/model" --prompt 'The cat' --json
  cmp out one
  cp "$S/tokens.h5" .
  ok 2 train --data tokens.h5 --model again.h5 --batch-size 4 --steps 1 --out tuned
}

@test "convert: generation_config.json goes with a checkpoint, byte for byte, and holds there" {
  cp -r "$S/run/model" model
  # An end token that the model writes at once shows that the file is read.
  ok 1 generate --model model --prompt 'The cat' --max-new-tokens 4 --json
  ends=$(python3 -c 'import json; print(json.loads(open("out").readline())["ids"][2])')
  printf '{"max_new_tokens": 3,\n "eos_token_id": [299, %s], "penalty_alpha": 0.6}\n' \
    "$ends" >model/generation_config.json
  ok 1 generate --model model --prompt 'The cat' --json
  cp out one
  json out 'lines[0]["finish"] == "eos" and lines[0]["n_new"] <= 3'
  ok 1 convert model c.h5
  ok 2 generate --model c.h5 --prompt 'The cat' --json --tp 2
  cmp out one
  grep -q 'c.h5: generation_config.json sets penalty_alpha' err
  ok 1 convert c.h5 back
  cmp back/generation_config.json model/generation_config.json
  # A run from it keeps it too: in its checkpoints, on every grid, and its export.
  ok 3 train --data "$S/tokens.h5" --model model --batch-size 4 --steps 1 --out tuned
  cmp tuned/model/generation_config.json model/generation_config.json
  ok 1 convert tuned/checkpoints/step-00000001.h5 again
  cmp again/generation_config.json model/generation_config.json
  # Without the file, the list of config.json says where a text ends, also once converted.
  rm model/generation_config.json
  python3 - "$ends" <<'PY'
import json, sys
c = json.load(open("model/config.json"))
c["eos_token_id"] = [299, int(sys.argv[1])]
json.dump(c, open("model/config.json", "w"))
PY
  ok 1 convert model c.h5 --overwrite
  ok 1 convert c.h5 back --overwrite
  python3 - "$ends" <<'PY'
import json, sys
for file in ("config.json", "generation_config.json"):
    assert json.load(open("back/" + file))["eos_token_id"] == [299, int(sys.argv[1])], file
PY
  for model in model c.h5 back; do
    ok 1 generate --model $model --prompt 'The cat' --max-new-tokens 4 --json
    json out 'lines[0]["finish"] == "eos" and lines[0]["n_new"] <= 3'
  done
  sed -i 's/"eos_token_id": \[299/"eos_token_id": ["x"/' model/config.json
  refused 1 'model/config.json: eos_token_id is ."x",[0-9]+.; allowed: a token id or a list' \
    generate --model model --prompt 'The cat'
}

@test "convert: what it refuses, leaving everything as it was" {
  mkdir other
  : >other/notes.txt
  ok 1 convert "$S/run/model" there
  for n in 1 2; do
    refused $n 'name SRC and DST' convert "$S/run/model"
    refused $n 'SRC nowhere: no such file' convert nowhere x
    refused $n 'DST there: is there already; --overwrite' convert "$S/run/model" there
    refused $n 'DST other: --overwrite replaces a model.s folder only' \
      convert "$S/run/model" other --overwrite
    refused $n 'is SRC, or one is within the other' convert there there --overwrite
    refused $n 'x.gguf: allowed: a folder' convert there x.gguf
    refused $n "max-shard-size is '5XB'; allowed" convert there x --max-shard-size 5XB
    refused $n "dtype is 'int3'; allowed: fp32, bf16, fp16" convert there x --dtype int3
    refused $n 'a Weft checkpoint holds fp32' convert there x.h5 --dtype bf16
    refused $n 'other/notes.txt' convert there other/notes.txt/x
  done
  cp there/model.safetensors half.bin
  head -c 4000 half.bin >there/model.safetensors
  refused 1 'model.safetensors' convert there x
  refused 1 'model.safetensors' convert there x.h5
  only half.bin other there
}
