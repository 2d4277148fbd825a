#!/usr/bin/env bats
# What a run exports gives the losses that transformers gives with it (tests/data/make_export.py),
# and so does its checkpoint, bit for bit.

load helper

losses() { grep -o '"loss":[^,]*' | cut -d: -f2; }

@test "weft score of the export and of the checkpoint equals transformers" {
  cd "$BATS_TEST_TMPDIR"
  golden=$WEFT_SOURCE_DIR/tests/data/export.json
  source=$WEFT_SOURCE_DIR/tests/data/tokenizer
  # shellcheck disable=SC2046
  set -- $(tr -d '\n' <"$golden" | sed -E 's/.*"recipe": \[([^]]*)\].*/\1/' | tr -d '",')
  "$WEFT" data "$source/corpus.txt" --tokenizer "$source" --out data.h5
  "$WEFT" train --data data.h5 --out out "$@"
  sed -nE 's/^ *"text": (.*),$/{"text": \1}/p' "$golden" >texts.jsonl
  [ "$(wc -l <texts.jsonl)" -ge 4 ]
  "$WEFT" score --model out/model --in texts.jsonl --json --threads 1 >export.jsonl
  "$WEFT" score --model out/checkpoints/step-00000020.h5 --in texts.jsonl --json \
    --threads 1 >checkpoint.jsonl
  diff export.jsonl checkpoint.jsonl
  tr -d ' ' <"$golden" | grep '"loss"' | cut -d: -f2 >expected
  losses <export.jsonl >got
  paste -d' ' got expected
  # The model itself was trained in fp32: 20 steps on another machine differ in their last bits, and
  # so may the loss, by some 1e-6.
  paste -d' ' got expected |
    awk 'NF != 2 { exit 1 }
      { d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > 2e-5) exit 1; n++ }
      END { exit n < 4 }'
}
