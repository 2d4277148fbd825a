# What the suites share. $WEFT: the program; $WEFT_MPIEXEC: launch/mpiexec.sh MPIEXEC;
# $WEFT_SOURCE_DIR.
# shellcheck shell=bash

DATA=$WEFT_SOURCE_DIR/tests/data
CORPUS=$DATA/tokenizer/corpus.txt

# weft N ARGS…: the command on N ranks (1: without mpiexec). Fills status, and the files out and err
# of the test's folder. A hang fails. LIMIT: seconds after which it counts as hung.
weft() {
  local n=$1
  shift
  status=0
  if [ "$n" = 1 ]; then
    timeout -k 5 "${LIMIT:-120}" "$WEFT" "$@" >out 2>err || status=$?
  else
    # shellcheck disable=SC2086
    timeout -k 5 "${LIMIT:-120}" $WEFT_MPIEXEC "$n" "$WEFT" "$@" >out 2>err || status=$?
  fi
  if [ "$status" = 124 ] || [ "$status" = 137 ]; then
    echo "weft $* hung on $n ranks" && return 1
  fi
  ! compgen -G 'core*' || { echo "weft $* dumped core"; return 1; }
}

# ok N ARGS…: the command succeeds.
ok() {
  weft "$@" || return 1
  [ "$status" = 0 ] || { echo "weft $*: exit $status"; cat err; return 1; }
}

# refused N 'words' ARGS…: exit 2, nothing on stdout, and exactly one sentence, which holds the
# words (an extended regular expression) and neither a source line nor a rank: the same on any
# number of ranks.
refused() {
  local n=$1 words=$2
  shift 2
  weft "$n" "$@" || return 1
  [ "$status" = 2 ] || { echo "weft $* on $n ranks: exit $status, not 2"; cat out err; return 1; }
  [ ! -s out ] || { echo "weft $*: results beside an error"; cat out; return 1; }
  [ "$(grep -c '^weft: ' err)" = 1 ] || {
    echo "weft $* on $n ranks: not one message"
    cat err
    return 1
  }
  grep '^weft: ' err >message
  grep -Eq -- "$words" message || { echo "weft $*: no '$words' in:"; cat message; return 1; }
  ! grep -Eq '\.cpp:[0-9]+|^weft: rank [0-9]|filesystem error|json\.exception' message || {
    echo "weft $*: not a sentence for users:"
    cat message
    return 1
  }
}

# failed N 'words' ARGS…: exit 1, one message.
failed() {
  local n=$1 words=$2
  shift 2
  weft "$n" "$@" || return 1
  [ "$status" = 1 ] || { echo "weft $* on $n ranks: exit $status, not 1"; cat out err; return 1; }
  [ "$(grep -c '^weft: ' err)" = 1 ] || {
    echo "weft $* on $n ranks: not one message"
    cat err
    return 1
  }
  grep -Eq -- "^weft: $words" err || { echo "weft $*: no '$words' in:"; cat err; return 1; }
}

# json FILE 'python expression over `lines`' …: each must be true of the file's JSON lines.
json() {
  python3 - "$@" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
for test in sys.argv[2:]:
    if not eval(test):
        sys.exit(f"{sys.argv[1]}: not true: {test}\n{lines}")
PY
}

# json_file FILE TEST…: likewise, of a file that is one value: whole.
json_file() {
  python3 - "$@" <<'PY'
import json, sys
whole = json.load(open(sys.argv[1], encoding="utf-8"))
for test in sys.argv[2:]:
    if not eval(test):
        sys.exit(f"{sys.argv[1]}: not true: {test}\n{whole}")
PY
}

# The tokenizer `tok`, the token file `tokens.h5` and the trained model `run/model` of a suite, in
# its own folder.
make_model() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --out tok 2>/dev/null
  "$WEFT" data "$CORPUS" --tokenizer tok --val-fraction 0.1 --out tokens.h5 2>/dev/null
  "$WEFT" train --data tokens.h5 --layers 3 --width 24 --heads 3 --context 48 --batch-size 4 \
    --steps 4 --save-every 2 --out run 2>/dev/null
}

# A folder of the test's own, the suite's files beside it as $S.
in_folder() {
  export S=$BATS_FILE_TMPDIR OMP_NUM_THREADS=1
  cd "$BATS_TEST_TMPDIR" || return 1
}
# Of a suite that says nothing else: what tests write stays out of whoever's folder they are run in.
setup() { in_folder; }

# Nothing is here but the files named (and what the helpers write).
only() {
  local found
  found=$(ls -A | grep -vxE 'out|err|message' | sort | tr '\n' ' ')
  [ "$found" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ' | sed 's/^ $//')" ] || {
    echo "here is: $found, expected: $*"
    return 1
  }
}
