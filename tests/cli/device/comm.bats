# `weft bench comm` on ranks with a GPU each: NCCL's collectives, checked and timed. Emulated GPUs
# and an emulated NCCL: how fast means nothing.
load ../weft

setup() { in_folder; }

collectives='("all_reduce", "start_all_reduce and wait", "all_gather", "reduce_scatter",
  "broadcast", "send and recv")'

@test "every collective in fp32 and bf16, right on 2 and 4 ranks, with nccl-tests' bandwidths" {
  for n in 2 4; do
    LIMIT=240 ok "$n" bench comm --device cuda --max-bytes 4096 --repeats 2 --threads 1 --json
    json out 'all(l["device"] == "cuda" and l["backend"] == "nccl" and l["group"] == "world" and
        l["ranks"] == '"$n"' and l["hosts"] == 1 and l["wrong"] == 0 for l in lines)' \
      '[(l["collective"], l["dtype"]) for l in lines] == [
         (c, d) for d in ("fp32", "bf16") for size in range(4) for c in '"$collectives"']' \
      '[l["bytes"] for l in lines if l["collective"] == "all_reduce"] == 2 * [8, 64, 512, 4096]' \
      'all(abs(l["busbw"] / l["algbw"] - {"all_reduce": 2 * (l["ranks"] - 1) / l["ranks"],
         "start_all_reduce and wait": 2 * (l["ranks"] - 1) / l["ranks"],
         "all_gather": (l["ranks"] - 1) / l["ranks"], "broadcast": 1, "send and recv": 1,
         "reduce_scatter": (l["ranks"] - 1) / l["ranks"]}[l["collective"]]) < 1e-9
         for l in lines)' \
      'all(abs(l["algbw"] * 1e9 * l["seconds"] - l["bytes"]) < 1e-6 * l["bytes"] for l in lines)' \
      'all(l["value"] == l["busbw"] > 0 and l["unit"] == "GB/s" and 0 < l["share"] <= 1
         for l in lines)'
  done
}

@test "groups of a grid: messages are timed where ranks send them" {
  LIMIT=240 ok 4 bench comm --device cuda --tp 2 --pp 2 --max-bytes 8 --repeats 1 --threads 1 --json
  json out '{(l["group"], l["ranks"]) for l in lines} == {("world", 4), ("tp", 2), ("pp", 2)}' \
    '{l["group"] for l in lines if l["collective"] == "send and recv"} == {"world", "pp"}'
}

@test "beside what the machine's description says" {
  ok 2 bench comm --device cuda --machine polaris --max-bytes 8 --repeats 1 --threads 1 --json
  json out 'all(l["described"] == 100 and l["described_by"] == "polaris" and
      l["described_source"].startswith("a GPU") and
      abs(l["of_described"] - l["value"] / 100) < 1e-9 for l in lines)'
  WEFT_MACHINE=sophia ok 2 bench comm --device cuda --max-bytes 8 --repeats 1 --threads 1
  grep -q "% of 'sophia': 300, a GPU's links, stated" out
  ok 2 bench comm --device cpu --machine polaris --max-bytes 8 --repeats 1 --threads 1 --json
  json out 'all("described" not in l for l in lines)'
}
