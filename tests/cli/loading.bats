# Where a model comes from: names in the local hub cache, old weights, folders that are no model,
# new tokens, other labels.
load weft

setup_file() { make_model; }
setup() { in_folder; }

# A model's folder in a cache as huggingface_hub lays it out.
in_cache() {
  mkdir -p "hub/models--lab--small/snapshots/0123abc" hub/models--lab--small/refs
  printf 0123abc >hub/models--lab--small/refs/main
  cp "$S"/run/model/* hub/models--lab--small/snapshots/0123abc/
  export HF_HUB_CACHE=$PWD/hub
}

@test "org/name: every command finds the snapshot in the local cache, and never looks elsewhere" {
  in_cache
  ok 2 score --model lab/small --text "a b" --json
  cp out one
  ok 1 score --model "$S/run/model" --text "a b" --json
  cmp one out
  ok 1 info lab/small --json
  ok 1 tokenize --model lab/small --text "a b"
  ok 1 convert lab/small copy
  cmp copy/model.safetensors "$S/run/model/model.safetensors"
  ok 1 data "$CORPUS" --tokenizer lab/small --out again.h5
  ok 1 train --data again.h5 --model lab/small --tokenizer lab/small --steps 1 --batch-size 1 \
    --context 8 --out tuned
  local words='--model lab/none: no such file or folder, and the local Hugging Face cache '
  words+="$PWD/hub has no models--lab--none"
  refused 2 "$words" score --model lab/none --text a
  refused 1 "SRC lab/none: no such file" convert lab/none copy2
}

@test "info --config prints the configuration as transformers does" {
  ok 1 info "$DATA/families/llama_classify" --config
  head -1 out | grep -qx 'LlamaConfig {'
  python3 - "$DATA/families/llama_classify/config.json" <<'PY'
import json, sys
name, text = open("out").read().split(" ", 1)
ours, file = json.loads(text), json.load(open(sys.argv[1]))
assert ours == file, (ours, file)
assert text.strip() == json.dumps(ours, indent=2, sort_keys=True), text
PY
  ok 1 info --config "$DATA/families/llama_classify"
  grep -qx 'LlamaConfig {' out
  echo 'tp = 2' >options.toml
  ok 1 info "$DATA/families/llama_classify" --config options.toml
  grep -q 'tp 2 x pp 1' out
}

@test "pytorch_model.bin: the same results as of safetensors, and convert makes safetensors of it" {
  ok 2 convert "$DATA/loading/llama_shards" copy
  ok 1 convert "$DATA/families/llama2" same
  cmp copy/model.safetensors same/model.safetensors
  mkdir hostile
  cp "$DATA/loading/llama_shards/config.json" hostile
  cp "$DATA/loading/runs.bin" hostile/pytorch_model.bin
  refused 2 'names posix.system, which is no part of a tensor and is not run' info hostile
  cp "$DATA/loading/legacy.bin" hostile/pytorch_model.bin
  refused 1 'before version 1.6.*torch.save' convert hostile never
}

@test "folders that are no model say what they are" {
  mkdir lfs adapter
  cp "$S/run/model/config.json" lfs
  printf 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n' >lfs/model.safetensors
  refused 2 'model.safetensors: is a Git LFS pointer.*git lfs pull' \
    score --model lfs --text a --tokenizer "$S/tok"
  printf '{"base_model_name_or_path": "lab/base"}' >adapter/adapter_config.json
  refused 2 'adapter: is an adapter .LoRA.* of lab/base.*merge' \
    score --model adapter --text a --tokenizer "$S/tok"
  refused 1 'is an adapter' convert adapter copy
  cp lfs/model.safetensors model.gguf
  refused 1 'Git LFS pointer' info model.gguf
}

@test "train: a tokenizer with new tokens makes the model's tables longer, alike on any grid" {
  cp -r "$S/tok" more
  python3 - more <<'PY'
import json, sys

file = sys.argv[1] + "/tokenizer.json"
t = json.load(open(file))
n = 1 + max([*t["model"]["vocab"].values(), *(a["id"] for a in t["added_tokens"])])
for i, word in enumerate(("<gene>", "<end>")):
    t["added_tokens"].append({
        "id": n + i, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True
    })
json.dump(t, open(file, "w"))
print(n)
PY
  printf '<gene> a b <end>\n%.0s' {1..80} >genes.txt
  ok 1 data genes.txt --tokenizer more --out genes.h5
  run="--data genes.h5 --model $S/run/model --tokenizer more --steps 2 --batch-size 4 --context 16"
  # shellcheck disable=SC2086
  for n in "1" "2 --tp 2" "3 --pp 3"; do
    ok ${n%% *} train $run ${n#"${n%% *}"} --out "r${n%% *}"
  done
  grep -q 'the token tables grow from 300 rows' err
  python3 - <<'PY'
import json, struct
def table(folder):
    data = open(folder + "/model/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    t = json.loads(data[8:8 + n])["transformer.wte.weight"]
    begin, end = (8 + n + at for at in t["data_offsets"])
    values = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    assert json.load(open(folder + "/model/config.json"))["vocab_size"] == t["shape"][0] == 302, t
    return values
one = table("r1")
for other in ("r2", "r3"):
    assert max(abs(a - b) for a, b in zip(one, table(other))) < 1e-5, other
PY
  ok 2 score --model r1/model --text "<gene> a" --json
  refused 2 'new tokens are added to a Hugging Face directory' \
    train --data genes.h5 --model "$S/run/checkpoints/step-00000004.h5" --tokenizer more --steps 1 \
    --out r4
}
