#!/usr/bin/env bats
# Every command of README.md's code blocks, as written, with its runs in a folder of their own and a
# short training.

@test "README has at most 150 lines" {
  [ "$(wc -l <"$WEFT_SOURCE_DIR/README.md")" -le 150 ]
}

@test "every command of README runs" {
  cd "$WEFT_SOURCE_DIR"
  # Indented lines of a code block that name a program of ours, those that end in a backslash with
  # the next one; launch/test.sh is what runs this.
  sed -e ':join' -e '/\\$/ { N; s/\\\n *//; b join' -e '}' README.md |
    grep -E '^    (launch/|build/weft)' | sed 's/ *# .*//' |
    grep -v -e '^    launch/test.sh' -e '^    launch/  *[a-z]' >"$BATS_TEST_TMPDIR/commands"
  [ "$(wc -l <"$BATS_TEST_TMPDIR/commands")" -ge 10 ]
  export WEFT_RUN=$BATS_TEST_TMPDIR/runs/quickstart WEFT_STEPS=20 WEFT_SMOLLM2=none WEFT
  while read -r command; do
    command=${command//runs\//$BATS_TEST_TMPDIR/runs/}
    command=${command//build\/weft/$WEFT}
    echo "$command"
    timeout 300 bash -c "$command" >"$BATS_TEST_TMPDIR/out" 2>&1 </dev/null || {
      cat "$BATS_TEST_TMPDIR/out"
      false
    }
  done <"$BATS_TEST_TMPDIR/commands"
  # What the quickstart promises is there, and the second train went on where the first one ended.
  [ -s "$WEFT_RUN/model/model.safetensors" ] && [ -s "$WEFT_RUN/recipe.toml" ]
  grep -q '"event":"step","step":21,' "$BATS_TEST_TMPDIR/runs/first/run.jsonl"
  [ "$(grep -c '"event":"step","step":20,' "$BATS_TEST_TMPDIR/runs/first/run.jsonl")" = 1 ]
}
