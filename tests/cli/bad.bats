# What bad input gets: one sentence with file, key and what is allowed, exit code 2, no core, no
# hang, nothing half-written, the same at any number of ranks.
load weft

setup_file() {
  make_model
  python3 "$WEFT_SOURCE_DIR/tests/cli/damage.py" run/model bad
}
setup() { in_folder; }

# bad NAME 'words': the damaged model is refused on one rank and on three, split every way.
bad() {
  refused 1 "$2" generate --model "$S/bad/$1" --prompt a --out g.jsonl
  refused 3 "$2" generate --model "$S/bad/$1" --prompt a --out g.jsonl --tp 3
  refused 3 "$2" score --model "$S/bad/$1" --text ab --pp 3
  refused 2 "$2" train --model "$S/bad/$1" --data "$S/tokens.h5" --steps 1 --out new --pp 2
  only
}

@test "safetensors: missing, truncated, and lengths that lie" {
  bad no_weights 'no_weights: holds neither model.safetensors nor pytorch_model.bin, nor an index'
  bad weights_folder 'model.safetensors: is not a file'
  bad empty 'model.safetensors: has 0 bytes, too few'
  bad truncated 'truncated/model.safetensors: .*truncated or damaged'
  bad truncated_header 'model.safetensors: claims a header of [0-9]+ bytes in a file of [0-9]+'
  bad header_length 'claims a header of 1152921504606846976 bytes'
  bad more_data 'model.safetensors: holds [0-9]+ bytes of data, but its header describes [0-9]+'
}

@test "safetensors: headers that lie" {
  bad not_json 'model.safetensors: the header is not valid JSON'
  bad deep 'model.safetensors: the header is not valid JSON'
  bad twice 'model.safetensors: .* stands in the header twice'
  bad overlap 'model.safetensors: tensor .* overlaps another'
  bad out_of_range \
    'model.safetensors: tensor .* claims bytes [0-9]+ to [0-9]+, but the file holds [0-9]+'
  bad negative_offset 'data_offsets .*-8,0.; they must be two whole numbers'
}

@test "safetensors: dtypes, shapes and names" {
  bad dtype 'is F8_E4M3; weights must be F32, F16, BF16 or F64'
  bad integers 'is I32; weights must be F32, F16, BF16 or F64'
  bad sizes 'model.safetensors: tensor .* claims shape|takes .* bytes'
  bad shape 'model.safetensors: tensor .* is .*, but config.json makes it'
  bad missing_tensor 'missing_tensor: tensor .* is missing'
  bad index 'index.json: file absent.safetensors is named there, but missing'
  bad index_lies 'tensor absent.weight should be in part.safetensors, but is not'
}

@test "weights that are not finite, also in one rank's slice alone" {
  bad nan 'nan/model.safetensors: tensor .* holds a number that is not finite'
  bad infinity 'infinity/model.safetensors: tensor .* holds a number that is not finite'
}

@test "a weight that --dtype fp16 cannot hold, also in one rank's slice alone" {
  local words='tensor .* of .*model.safetensors holds 70000, above what fp16 can hold; '
  words+='allowed: --dtype bf16, fp32'
  for n in 1 3; do
    refused $n "$words" generate --model "$S/bad/too_large_for_fp16" --prompt a --dtype fp16 --tp $n
    ok $n generate --model "$S/bad/too_large_for_fp16" --prompt a --dtype bf16 --tp $n
  done
  "$WEFT" convert "$S/bad/too_large_for_fp16" large.h5 2>/dev/null
  refused 1 "above what fp16 can hold" generate --model large.h5 --prompt a --dtype fp16
  refused 1 "above what fp16 can hold" convert large.h5 half --dtype fp16
  only large.h5
}

@test "numbers that are not finite: exit 1, the text named, on every rank at once" {
  local logits='the model.s logits are not finite \(NaN or infinity\)$' \
    results='the model.s results are not finite \(NaN or infinity\)(; --h5 m.h5 is not made)?$'
  printf 'a\nthe cat\n' >two.txt
  printf '{%% for m in messages %%}{{ m.content }}{%% endfor %%}' >template.jinja
  for grid in "1" "2 --dp 2" "3 --tp 3" "3 --pp 3"; do
    set -- $grid
    local n=$1
    shift
    for how in "" --do-sample "--num-beams 2"; do
      failed "$n" "prompt 0, new token 1: $logits" \
        generate --model "$S/bad/hot" "$@" --prompt a $how
    done
    failed "$n" "two.txt: line [12], new token 1: $logits" \
      generate --model "$S/bad/hot" "$@" --in two.txt --out g.jsonl
    failed "$n" "text 1: $results" score --model "$S/bad/hot" "$@" --text a --text 'the cat'
    failed "$n" "text [01]: $results" embed --model "$S/bad/hot" "$@" --in two.txt --pooling max
    failed "$n" "text [01]: $results" attention --model "$S/bad/hot" "$@" --in two.txt \
      --h5 m.h5 --export hidden
    failed "$n" "the conversation, new token 1: $logits" \
      chat --model "$S/bad/hot" --chat-template template.jinja "$@" --prompt a
  done
  [ ! -s g.jsonl ]
  only g.jsonl template.jinja two.txt
}

@test "config.json: missing, broken and absurd" {
  bad no_config 'no_config/config.json: no such file'
  bad config_empty 'config.json: not valid JSON near line 1'
  bad config_broken 'config.json: not valid JSON near line 2'
  bad config_list 'config.json: holds array, not an object'
  bad config_nan 'config.json: not valid JSON'
  bad config_deep 'config.json: not valid JSON'
  bad heads 'config.json: n_head is -3; allowed: 1 to'
  bad odd_heads 'config.json: n_embd is 24 and n_head is 5; n_embd must be a multiple of n_head'
  bad layers 'config.json: n_layer is 1000000000000; allowed: 1 to 10000'
}

@test "config.json: wrong types, unknown families, other models" {
  bad text_for_number 'config.json: n_embd is "48"; allowed: whole numbers from 1'
  bad fraction 'config.json: n_layer is 2.5; allowed: whole numbers'
  bad epsilon 'config.json: layer_norm_epsilon is 0; allowed'
  bad activation "activation_function is 'swishish'; allowed: gelu_new, gelu_pytorch_tanh, gelu"
  bad family "config.json: model family 'lllama' is not known; known families: gpt2"
  bad no_family 'config.json: model_type is missing'
  bad wider 'but config.json makes it'
  refused 1 'but config.json makes it' generate --model "$S/bad/huge" --prompt a
  refused 1 "--family is 'gpt3'; allowed: gpt2, " \
    train --data "$S/tokens.h5" --steps 1 --out new --family gpt3
  only
}

@test "tokenizer.json and generation_config.json" {
  bad tokenizer 'tokenizer/tokenizer.json: not valid JSON'
  refused 1 'generation_config.json: temperature is "warm"; allowed: numbers' \
    generate --model "$S/bad/generation" --prompt a
  refused 3 'generation_config.json: temperature is "warm"; allowed: numbers' \
    generate --model "$S/bad/generation" --prompt a
}

@test "tokens that the vocabulary does not hold" {
  local words='prompt 0 is empty, and the bos_token_id that it would start from is 50256, '
  words+='but the model.s vocabulary holds 0 to 299'
  refused 1 "$words" generate --model "$S/bad/bos" --prompt ''
  refused 3 'the bos_token_id that it would start from is 50256' \
    generate --model "$S/bad/bos" --prompt '' --repetition-penalty 1.3 --tp 3
  ok 1 generate --model "$S/bad/bos" --prompt a --repetition-penalty 1.3
  ok 3 generate --model "$S/bad/eos" --prompt '' --prompt a --min-new-tokens 3 --num-beams 2 --tp 3
}

@test "grids: ranks, heads and layers" {
  local train=(train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 --steps 1 \
    --out new)
  refused 3 '--tp 2 --pp 1 needs a multiple of 2 ranks, but 3 were started' "${train[@]}" --tp 2
  refused 2 '--tp 1 --pp 1 --dp 3 needs 3 ranks, but 2 were started' "${train[@]}" --dp 3
  refused 1 '--tp 2 --pp 1 needs a multiple of 2 ranks, but 1 was started' \
    generate --model "$S/run/model" --prompt a --tp 2
  refused 3 '--tp is 3, but the model has 2 heads; allowed: 1 to 2' "${train[@]}" --tp 3
  refused 3 '--pp is 3, but the model has 2 layers; allowed: 1 to 2' "${train[@]}" --pp 3
  refused 3 '--dp is 3, but --batch-size 2' "${train[@]}" --dp 3 --batch-size 2
  refused 1 '--tp is 0; allowed: 1 to' "${train[@]}" --tp 0
  refused 2 '--tp is 4294967298; allowed: 1 to' "${train[@]}" --tp 4294967298
  refused 1 '--pp is -1; allowed: 1 to' generate --model "$S/run/model" --prompt a --pp -1
  only
}

@test "train: absurd options" {
  local train=(train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 --steps 1 \
    --out new)
  refused 1 '--batch-size is 1000000000000; allowed: 1 to' "${train[@]}" --batch-size 1000000000000
  failed 2 ".*(is a rank's share|more than this machine can give)" "${train[@]}" \
    --batch-size 16000000
  refused 1 '--ffn is -5; allowed: 0 to' "${train[@]}" --ffn -5
  refused 1 '--layers is 100000; allowed: 1 to 10000' "${train[@]}" --layers 100000
  refused 1 '--heads is 0; allowed: 1 to' "${train[@]}" --heads 0
  refused 1 'too few for one sample of --context 1000000' "${train[@]}" --context 1000000
  refused 1 '--steps is 0; allowed: 1 to' "${train[@]}" --steps 0
  refused 1 '--beta1 is -0.5; allowed: 0 to' "${train[@]}" --beta1 -0.5
  refused 1 '--dropout is 1; allowed: 0 to' "${train[@]}" --dropout 1
  refused 1 "--lr-schedule is 'sine'; allowed: cosine, linear, constant" "${train[@]}" \
    --lr-schedule sine
  refused 1 "--pipeline-schedule is 'x'; allowed: gpipe, 1f1b" "${train[@]}" --pipeline-schedule x
  refused 1 '--data is missing' train --steps 1 --out new
  refused 1 "--resume is 'nowhere'; allowed: auto, none, or a checkpoint file" "${train[@]}" \
    --resume nowhere
  only
}

@test "train: a loss that is not finite ends the run, named, with exit code 1 and no checkpoint" {
  weft 2 train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 --steps 50 \
    --batch-size 4 --out new --lr 1000 --clip-grad-norm 0 --beta1 0 --weight-decay 900
  [ "$status" = 1 ]
  [ "$(grep -c '^weft: step .*training has diverged' err)" = 1 ]
  [ -z "$(ls new/checkpoints)" ]
  [ ! -e new/model ]
}

@test "token files: no HDF5, truncated, not ours, of another tokenizer" {
  local train=(train --layers 2 --width 24 --heads 2 --context 48 --steps 1 --out new)
  head -c 3000 "$S/tokens.h5" >short.h5
  echo text >text.h5
  : >empty.h5
  "$WEFT" tokenizer "$CORPUS" --vocab-size 290 --out other 2>/dev/null
  for n in 1 2; do
    refused $n 'nowhere.h5: no such file' "${train[@]}" --data nowhere.h5
    refused $n 'other: is a folder, not an HDF5 file' "${train[@]}" --data other
    for file in short text empty; do
      refused $n "$file.h5: is not an HDF5 file, or it is truncated" "${train[@]}" --data $file.h5
    done
    refused $n 'step-00000004.h5: has no tokens; it is not a token file' "${train[@]}" \
      --data "$S/run/checkpoints/step-00000004.h5"
    refused $n 'tokens.h5 was made with another tokenizer' "${train[@]}" --data "$S/tokens.h5" \
      --tokenizer other
  done
  "$WEFT" convert "$DATA/gpt2_h3" smaller.h5 2>/dev/null
  refused 1 'tokens.h5 has a vocabulary of 300, the checkpoint .* one of 211' \
    train --model smaller.h5 --data "$S/tokens.h5" --steps 1 --out new
  only empty.h5 other short.h5 smaller.h5 text.h5
}

# patch FILE DATASET FORMAT VALUE: writes a value where the dataset's data end.
patch_last() {
  local at size
  read -r at size < <(h5dump -p -H -d "$2" "$1" |
    awk '/OFFSET/ {o=$2} /SIZE/ {s=$2} END {print o, s}')
  python3 - "$1" "$((at + size))" "$3" "$4" <<'PY'
import struct, sys
file, end, form, value = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(file, "r+b") as f:
    bits = struct.pack("<" + form, int(value))
    f.seek(end - len(bits))
    f.write(bits)
PY
}

@test "token files: ids outside the vocabulary and offsets that lie, before the first step" {
  local train=(train --layers 2 --width 24 --heads 2 --context 48 --steps 1 --out new)
  cp "$S/tokens.h5" ids.h5
  patch_last ids.h5 /tokens H 65535
  cp "$S/tokens.h5" ends.h5
  patch_last ends.h5 /document_offsets q -7
  for n in 1 3; do
    refused $n 'ids.h5: token [0-9]+ is 65535, outside the vocabulary of 300' "${train[@]}" \
      --data ids.h5
    refused $n 'ends.h5: document_offsets do not rise' "${train[@]}" --data ends.h5
  done
  only ends.h5 ids.h5
}

@test "checkpoints: truncated, damaged, of another kind" {
  local file=$S/run/checkpoints/step-00000004.h5
  head -c 20000 "$file" >short.h5
  cp "$file" damaged.h5
  patch_last damaged.h5 /parameters/embed.tokens.weight i 1
  for n in 1 3; do
    refused $n 'short.h5: is not an HDF5 file, or it is truncated' \
      generate --model short.h5 --prompt a
    refused $n 'damaged.h5: dataset /parameters/embed.tokens.weight is damaged' \
      generate --model damaged.h5 --prompt a
    refused $n 'tokens.h5: is not a Weft checkpoint' generate --model "$S/tokens.h5" --prompt a
    refused $n 'damaged.h5: dataset /parameters/embed.tokens.weight is damaged' \
      train --model damaged.h5 --data "$S/tokens.h5" --steps 1 --out new
    refused $n 'damaged.h5: dataset' train --data "$S/tokens.h5" --layers 3 --width 24 --heads 3 \
      --context 48 --steps 8 --out new --resume damaged.h5
  done
  only damaged.h5 short.h5
}

@test "--out where nothing can be written" {
  echo text >file
  for n in 1 2; do
    refused $n '--out file: is a file, not a folder' \
      train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 --steps 1 --out file
    refused $n '--out file/new: (cannot be made|is a file|.*Not a directory)' \
      train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 --steps 1 \
      --out file/new
  done
  only file
}

@test "a full disk: said once, exit 1, nothing half-written, older files whole" {
  [ "$(id -u)" = 0 ] || skip "a small file system can be mounted by root only"
  mkdir disk
  mount -t tmpfs -o size=1m tmpfs disk 2>/dev/null || skip "no file system can be mounted here"
  local train=(train --data "$S/tokens.h5" --layers 2 --width 24 --heads 2 --context 48 \
    --batch-size 4)
  full_disk || { umount disk; return 1; }
  umount disk
}

full_disk() {
  for n in 1 2; do
    rm -rf disk/*
    failed $n '.*run/checkpoints/step-00000001.h5: .*disk.* full' "${train[@]}" --out disk/run \
      --width 96 --steps 1 || return 1
    [ -z "$(find disk -name '*.tmp' -o -name '*.h5' -o -name model)" ] || { find disk; return 1; }
    head -c 1040000 /dev/zero >disk/filler
    failed $n '.*disk/t.h5.*(full|No space|failed)' \
      data "$CORPUS" --tokenizer "$S/tok" --out disk/t.h5 || return 1
    failed $n '.*disk/g.jsonl.*No space left' generate --model "$S/run/model" --out disk/g.jsonl \
      --do-sample --num-return-sequences 100 --prompt "$(head -c 40 "$CORPUS")" || return 1
    failed $n '.*disk/tk.*(No space|cannot)' tokenizer "$CORPUS" --vocab-size 300 --out disk/tk ||
      return 1
    [ -z "$(find disk -name '*.tmp' -o -name '*.h5')" ] || { find disk; return 1; }
  done
}
