# A build for GPUs (WEFT_CUDA=ON) on a machine without NVIDIA's driver; launch/test.sh runs it.
load ../weft

setup() {
  in_folder
  [ ! -e /proc/driver/nvidia/version ] || skip "this machine has a driver"
}

@test "it needs neither the driver nor cuBLAS nor NCCL to start" {
  readelf -d "$WEFT" >needed
  grep -q 'NEEDED.*libc\.so' needed
  [ -z "$(grep -E 'NEEDED.*(libcuda|libcudart|libcublas|libnccl)' needed)" ]
  ok 1 --version
  grep -Eq '^ +cuda +ON$' out
}

@test "without --device it says in one line why it runs on the CPU, and does" {
  ok 1 tokenizer "$CORPUS" --vocab-size 300 --out tok
  ok 1 data "$CORPUS" --tokenizer tok --out tokens.h5
  local options=(--data tokens.h5 --layers 1 --width 16 --heads 2 --context 32 --batch-size 2
    --steps 2)
  ok 1 train "${options[@]}" --out default
  [ "$(grep -c 'GPU' err)" = 1 ]
  grep -Eq 'no GPU can be used \(.*\): this runs on the CPU' err
  ok 1 train "${options[@]}" --out cpu --device cpu
  [ "$(grep -c 'GPU' err)" = 0 ]
  cmp default/model/model.safetensors cpu/model/model.safetensors
  refused 1 '--device cuda: no GPU can be used \(.*\); allowed here: cpu' \
    train "${options[@]}" --out gpu --device cuda
  [ ! -e gpu ]
}
