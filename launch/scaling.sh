#!/usr/bin/env bash
# Strong and weak scaling of training and generation over a list of grids, with repeats:
#   launch/scaling.sh --grids "1x1x1 2x1x1 1x1x2" [options]
#   --grids LIST        grids, as TPxPPxDP                                     required
#   --scaling LIST      strong (the same work for every grid), weak (for every rank)  strong,weak
#   --what LIST         train, generate                                        train,generate
#   --repeats R         of every run, all grids once before any a second time  3
#   --steps N           training steps (the first three count in no speed)     12
#   --batch-size N      sequences of a step: strong, in all; weak, for a rank  8
#   --prompts N         prompts: strong, in all; weak, for a rank              8
#   --new-tokens N      new tokens of each prompt                              32
#   --config RECIPE     the model that is trained                        recipes/quickstart.toml
#   --data F.h5         its token file; else one of made-up words              OUT/tokens.h5
#   --model PATH        generates; else the first trained one                  OUT/model
#   --out FOLDER                                                               runs/scaling
#   -- OPTIONS          more options for weft train
# It leaves a run folder for each run and, of all of them, report.txt, .md, .csv and .html in
# FOLDER. Begun again it keeps the runs that are finished. In a batch job (launch/*/scaling.pbs) the
# ranks are those of its nodes; here, at most two for each core (WEFT_RANKS_PER_NODE allows other
# numbers). Exit code 1: a run failed; 3: stopped early.
set -euo pipefail
kit=$(cd "$(dirname "$0")" && pwd)

stop() {
  echo "scaling.sh: $*" >&2
  exit 2
}

grids='' scaling=strong,weak what=train,generate repeats=3 steps=12 batch=8 prompts=8 new_tokens=32
config=$kit/recipes/quickstart.toml data='' model='' out=runs/scaling more=()
while [ $# -gt 0 ]; do
  option=$1
  case $option in
    --help | -h)
      sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$0"
      exit 0
      ;;
    --) shift; more=("$@"); break ;;
    --grids | --scaling | --what | --repeats | --steps | --batch-size | --prompts | --new-tokens | \
      --config | --data | --model | --out) [ $# -gt 1 ] || stop "$option lacks its value" ;;
    *) stop "there is no option '$option'; --help lists them" ;;
  esac
  case $option in
    --grids) grids=$2 ;;
    --scaling) scaling=$2 ;;
    --what) what=$2 ;;
    --config) config=$2 ;;
    --data) data=$2 ;;
    --model) model=$2 ;;
    --out) out=$2 ;;
    *)
      [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || stop "$option is '$2'; allowed: a number from 1 on"
      case $option in
        --repeats) repeats=$2 ;;
        --steps) steps=$2 ;;
        --batch-size) batch=$2 ;;
        --prompts) prompts=$2 ;;
        --new-tokens) new_tokens=$2 ;;
      esac
      ;;
  esac
  shift 2
done

words() { tr ',' ' ' <<<"$1"; }
for word in $(words "$scaling"); do
  [[ $word =~ ^(strong|weak)$ ]] || stop "--scaling has '$word'; allowed: strong, weak"
done
for word in $(words "$what"); do
  [[ $word =~ ^(train|generate)$ ]] || stop "--what has '$word'; allowed: train, generate"
done
[ -r "$config" ] || stop "--config $config: no such file"
[ -z "$data" ] || [ -r "$data" ] || stop "--data $data: no such file"
[ -z "$model" ] || [ -e "$model" ] || stop "--model $model: no such file or folder"
[ -n "$model" ] || [[ $what == *train* ]] || stop "--what $what needs a --model"

if [ -z "${WEFT_MACHINE:-}" ]; then
  WEFT_RANKS_PER_NODE=${WEFT_RANKS_PER_NODE:-$((2 * $(env -u OMP_NUM_THREADS nproc)))}
  WEFT_DIALECT=local
fi
# shellcheck source=launch/job.sh
. "$kit/job.sh"
[ -x "$WEFT" ] || stop "$WEFT is not there; build it, or WEFT names another"
most=$(($(weft_nodes) * WEFT_RANKS_PER_NODE))
[ -n "$grids" ] || stop "--grids is missing: name some, as \"1x1x1 2x1x1 1x1x2\" (TPxPPxDP)"

# ranks_of GRID
ranks_of() { echo $((${1//x/*})); }
grids=$(words "$grids")
for grid in $grids; do
  [[ $grid =~ ^[1-9][0-9]{0,4}(x[1-9][0-9]{0,4}){2}$ ]] ||
    stop "--grids has '$grid'; allowed: TPxPPxDP, each a number from 1 on"
  [ "$(ranks_of "$grid")" -le "$most" ] ||
    stop "the grid $grid has $(ranks_of "$grid") ranks; allowed: $most at most, which are" \
      "$WEFT_RANKS_PER_NODE (WEFT_RANKS_PER_NODE) for each of $(weft_nodes) node(s)"
done

# ---------------------------------------------------------------------------------------- the plan

# A line a run: what, grid, work (sequences or prompts), folder. Where strong and weak scaling ask
# for the same run, it is made once.
plan() {
  local repeat kind grid work each
  for ((repeat = 1; repeat <= repeats; ++repeat)); do
    for each in $(words "$what"); do
      for kind in $(words "$scaling"); do
        for grid in $grids; do
          work=$batch
          [ "$each" = train ] || work=$prompts
          [ "$kind" = strong ] || work=$((work * $(ranks_of "$grid")))
          echo "$each $grid $work $out/$each-$grid-of-$work-$repeat"
        done
      done
    done
  done | awk '!seen[$0]++'
}

# What a run's folder must have been made with to count as this one.
goal_of() {
  local each=$1 work=$2
  if [ "$each" = train ]; then
    echo "$(cksum <"$config") $work sequences $steps steps ${data:-made-up words} ${more[*]}"
  else
    echo "$work prompts $new_tokens new tokens ${model:-trained} $(cksum <"$config")"
  fi
}

mapfile -t runs < <(plan)
for run in "${runs[@]}"; do
  read -r each grid work folder <<<"$run"
  [ ! -e "$folder" ] || [ "$(cat "$folder/goal" 2>/dev/null)" = "$(goal_of "$each" "$work")" ] ||
    stop "$folder is there and of another study; choose another --out"
done
weft_log_job
weft_say "${#runs[@]} runs in $out"

# ---------------------------------------------------------------------------------------- its texts

# made_up LINES WORDS: lines of made-up words, the same on every machine; what is read does not
# matter to speed.
made_up() {
  awk -v lines="$1" -v words="$2" '
    function draw(n) { x = (x * 69069 + 1) % 4294967296; return int(x / 4294967296 * n) }
    BEGIN {
      x = 7
      n = split("ka lo mi ne ru sa to vi be da fo gu ha je pi zu", syllables, " ")
      for (i = 0; i < lines; i++) {
        line = ""
        for (w = 0; w < words; w++) {
          word = ""
          for (s = 1 + draw(3); s >= 0; s--) word = word syllables[1 + draw(n)]
          line = line (w ? " " : "") word
        }
        printf "{\"text\": \"%s.\"}\n", line
      }
    }'
}

mkdir -p "$out"
if [ -z "$data" ] && [[ $what == *train* ]] && [ ! -e "$out/tokens.h5" ]; then
  made_up 1500 60 >"$out/text.jsonl"
  [ -e "$out/tokenizer" ] ||
    "$WEFT" tokenizer "$out/text.jsonl" --vocab-size 2048 --out "$out/tokenizer"
  "$WEFT" data "$out/text.jsonl" --tokenizer "$out/tokenizer" --val-fraction 0.01 \
    --out "$out/tokens.h5"
fi

# ----------------------------------------------------------------------------------------- the runs

# run_one WHAT GRID WORK FOLDER: its exit code.
run_one() {
  local each=$1 grid=$2 work=$3 folder=$4 tp pp dp code=0 common
  IFS=x read -r tp pp dp <<<"$grid"
  common=(--tp "$tp" --pp "$pp" --dp "$dp" --threads "$WEFT_THREADS" --device "$WEFT_DEVICE")
  rm -rf "$folder" # of this study and not finished
  mkdir -p "$folder"
  goal_of "$each" "$work" >"$folder/goal"
  if [ "$each" = train ]; then
    weft_launch -n "$(ranks_of "$grid")" "$WEFT" train --config "$config" \
      --data "${data:-$out/tokens.h5}" --out "$folder" --steps "$steps" --batch-size "$work" \
      --warmup-steps 0 --log-every 1 --eval-every 0 --eval-samples 8 --save-every 0 \
      "${common[@]}" "${more[@]}" || code=$?
    [ "$code" != 0 ] || keep_model "$folder"
  else
    made_up "$work" 12 >"$folder/prompts.jsonl"
    weft_launch -n "$(ranks_of "$grid")" "$WEFT" generate --model "${model:-$out/model}" \
      --in "$folder/prompts.jsonl" --out "$folder/generated.jsonl" --log "$folder/run.jsonl" \
      --max-new-tokens "$new_tokens" --ignore-eos --do-sample false "${common[@]}" || code=$?
  fi
  [ "$code" != 0 ] || weft_note_finished "$folder" "$(goal_of "$each" "$work")"
  return "$code"
}

# The first model generates; the weights of the other runs are of no use.
keep_model() {
  [ -e "$out/model" ] || mv "$1/model" "$out/model"
  rm -rf "$1/model" "$1/checkpoints"
}

failed=0 folders=() number=0
for run in "${runs[@]}"; do
  read -r each grid work folder <<<"$run"
  number=$((number + 1))
  if weft_finished "$folder" "$(goal_of "$each" "$work")"; then continue; fi
  weft_say "run $number of ${#runs[@]}: $folder"
  code=0
  run_one "$each" "$grid" "$work" "$folder" || code=$?
  if [ "$code" = 3 ] || [ "$weft_signals" != 0 ]; then
    weft_say "stopped early at run $number of ${#runs[@]}; the same command goes on from there"
    exit 3
  fi
  [ "$code" = 0 ] || {
    weft_say "$folder: exit code $code"
    failed=$((failed + 1))
  }
done

for run in "${runs[@]}"; do
  read -r _ _ _ folder <<<"$run"
  [ ! -e "$folder/run.jsonl" ] || folders+=("$folder")
done
[ ${#folders[@]} -gt 0 ] || {
  weft_say "no run left a log"
  exit 1
}
"$WEFT" report "${folders[@]}" | tee "$out/report.txt"
for format in md csv html; do
  "$WEFT" report "${folders[@]}" --format "$format" --out "$out/report.$format"
done
weft_say "$out: report.txt, .md, .csv and .html"
[ "$failed" = 0 ] || {
  weft_say "$failed of ${#runs[@]} runs failed"
  exit 1
}
