#!/usr/bin/env bats
# The stub of PBS and PALS that the other suites run jobs under (tests/launch/pbs): it behaves as
# ../shared/reference/alcf.md says that they do.

setup_file() {
  export PBS_STUB=$BATS_FILE_TMPDIR/server
  export PATH=$WEFT_SOURCE_DIR/tests/launch/pbs:/usr/bin:$PATH # the distribution's python3
  # Its own description: the limits are what is tested, not a machine's numbers.
  cat >"$BATS_FILE_TMPDIR/machine.toml" <<'TOML'
[scheduler]
required = ["account", "walltime", "filesystems", "select"]
resources = ["filesystems"]
chunk_resources = ["system", "ncpus"]
file_systems = ["home", "eagle"]
keep_files = "doe"
max_ncpus = 64
[[queues]]
name = "debug"
max = 2
max_walltime_s = 3600
max_array_running = 2
[[queues]]
name = "prod"
default = true
min = 2
max = 4
routes_to = ["small"]
[[queues]]
name = "small"
direct = false
min = 2
max = 3
max_walltime_s = 60
TOML
  pbs_server start "$PBS_STUB" --kill-delay 2 --machine "$BATS_FILE_TMPDIR/machine.toml"
}
teardown_file() { pbs_server stop "$PBS_STUB"; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

# script 'commands': job.pbs with the directives that are asked for.
script() {
  cat >job.pbs <<JOB
#!/bin/bash -l
#PBS -N eng
#PBS -A project
#PBS -q debug
#PBS -l select=1:system=polaris
#PBS -l walltime=00:01:00
#PBS -l filesystems=home:eagle
#PBS -j oe
cd "\$PBS_O_WORKDIR"
$1
JOB
}
refused() {
  run qsub "${@:2}"
  echo "$output"
  [ "$status" != 0 ]
  [ "${lines[0]}" = "qsub: $1" ]
}
field() { qstat -xf "$1" | sed -n "s/^    $2 = //p"; }
is_in() { grep -q "\"state\": \"$2\"" "$PBS_STUB/jobs/${1%%.*}/state.json"; }
# ended ID…: waits for their ends.
ended() {
  local id left=600
  for id; do
    until is_in "$id" F; do
      ((left-- > 0)) || { qstat -xf "$id" && return 1; }
      sleep 0.1
    done
  done
}
running() {
  local left=300
  until is_in "$1" R && [ -s "$2" ]; do
    ((left-- > 0)) || return 1
    sleep 0.1
  done
}

@test "qsub refuses what PBS refuses, in its words" {
  script true
  refused "script file:: No such file or directory" none.pbs
  refused "Unknown queue" -q debgu job.pbs
  refused "Access to queue is denied" -q small job.pbs
  refused "Job violates queue and/or server resource limits" -l walltime=2:00:00 job.pbs
  refused "Job violates queue and/or server resource limits" -l select=3 job.pbs
  refused "Unknown resource Resource_List.gpus" -l gpus=1 job.pbs
  refused 'Resource invalid in "select" specification: gpu' -l select=1:gpu=4 job.pbs
  refused "Illegal attribute or resource value Resource_List.filesystems" \
    -l filesystems=home:grand job.pbs
  refused "illegal -l value" -l walltime=soon job.pbs
  refused "illegal -r value" -r maybe job.pbs
  refused "Job output: only -k doe is allowed." -k oe job.pbs
  refused "Unknown Job Id 999" -W depend=afterany:999 job.pbs
  sed -i '/^#PBS -A/d' job.pbs
  refused "Account_Name is required to be set." job.pbs
  sed -i '/^#PBS -l filesystems/d' job.pbs
  refused "Resource: filesystems is required to be set." -A project job.pbs
}

@test "directives: none behind a command, none with a comment, the command line first" {
  script true
  sed -i '3s/$/ # ours/' job.pbs
  refused "directive error: -A project # ours" job.pbs
  script true
  sed -i '3s/.*/:\n#PBS -A project/' job.pbs # `:` is no command to PBS
  echo "#PBS -q nosuch" >>job.pbs           # behind the first one
  id=$(qsub -N other job.pbs)
  ended "$id"
  [[ $id == *.stub-pbs-01 ]]
  [ "$(field "$id" Job_Name)" = other ]
  [ -e "other.o${id%%.*}" ]
}

@test "what PBS takes and never runs: it waits, or is gone without a word" {
  script true
  id=$(qsub -l select=1:ncpus=128 job.pbs)
  wide=$(qsub -J 0-2 job.pbs)
  sleep 0.5
  [ "$(field "$id" job_state)" = Q ]
  [ "$(field "${wide/\[\]/[0]}" job_state)" = Q ]
  qdel "$id" "$wide"
  ended "$id" "$wide"
  id=$(qsub -q prod -l select=2 -l walltime=0:02:00 job.pbs)
  run qstat "$id"
  [ "$status" = 153 ]
  [[ $output == "qstat: Unknown Job Id"* ]]
}

@test "the job's environment, its files, and nothing of the submitter's" {
  script 'env; cat "$PBS_NODEFILE"; echo err >&2; exit 4'
  export HIDDEN=1
  id=$(qsub -q prod -l select=2:ncpus=8 -v "HANDED=a b",TMP job.pbs)
  ended "$id"
  cat "eng.o${id%%.*}"
  for line in "PBS_JOBID=$id" PBS_QUEUE=small PBS_O_QUEUE=prod PBS_ACCOUNT=project HANDED="a b" \
    "PBS_O_WORKDIR=$PWD" PBS_ENVIRONMENT=PBS_BATCH NCPUS=8 "TMPDIR=$PBS_STUB/tmp/pbs.$id" \
    x3001c0s1b0n0 x3001c0s2b0n0 err; do
    grep -qxF "$line" "eng.o${id%%.*}"
  done
  [ "$(grep -c HIDDEN "eng.o${id%%.*}")" = 0 ]
  [ "$(field "$id" Exit_status)" = 4 ]
  [ ! -e "$PBS_STUB/tmp/pbs.$id" ]
}

@test "the script is a copy of the moment of qsub" {
  script 'sleep 0.5; echo first'
  first=$(qsub job.pbs)
  id=$(qsub -W depend=afterany:"$first" job.pbs)
  script 'echo second'
  ended "$id"
  grep -qx first "eng.o${id%%.*}"
}

@test "walltime: SIGTERM to every process, SIGKILL after kill_delay, -29" {
  script 'bash -c "trap \"echo child got it\" TERM; while :; do sleep 0.1; done" &
trap "echo script got it" TERM
while :; do wait; done'
  id=$(qsub -l walltime=1 job.pbs)
  began=$(date +%s)
  ended "$id"
  ((ended_in = $(date +%s) - began)) || true
  cat "eng.o${id%%.*}"
  grep -q "^=>> PBS: job killed: walltime 2 exceeded limit 1$" "eng.o${id%%.*}"
  grep -q "^script got it" "eng.o${id%%.*}"
  grep -q "^child got it" "eng.o${id%%.*}"
  [ "$(field "$id" Exit_status)" = -29 ]
  [ "$ended_in" -ge 3 ] && [ "$ended_in" -le 8 ]
}

@test "preemption: the same job begins at its script's top; qsig; a job that may not rerun" {
  script 'echo "run $PBS_JOBID"; trap "echo usr1" USR1; sleep 60 & while ! wait $!; do :; done'
  id=$(qsub job.pbs)
  out=eng.o${id%%.*}
  running "$id" "$out"
  qsig -s SIGUSR1 "$id"
  until grep -q usr1 "$out"; do sleep 0.05; done
  preempt --at-once "$id"
  until [ "$(grep -c "run $id" "$out")" = 2 ]; do sleep 0.05; done
  [ "$(field "$id" run_count)" = 2 ]
  qdel "$id"
  ended "$id"
  [ "$(field "$id" Exit_status)" = 271 ]
  id=$(qsub -r n job.pbs)
  running "$id" "eng.o${id%%.*}"
  run qrerun "$id"
  [[ $output == "qrerun: job is not rerunnable"* ]]
  qdel "$id"
}

@test "chains: afterany goes on after a failure, afterok does not" {
  script 'exit 3'
  one=$(qsub job.pbs)
  two=$(qsub -W depend=afterok:"$one" job.pbs)
  three=$(qsub -W depend=afterany:"$one" job.pbs)
  four=$(qsub -W depend=afternotok:"$three" job.pbs)
  ended "$one" "$two" "$three" "$four"
  [ ! -e "eng.o${two%%.*}" ]
  [[ "$(field "$two" comment)" == "Job deleted as result of dependency on job $one" ]]
  [ -e "eng.o${three%%.*}" ] && [ -e "eng.o${four%%.*}" ]
}

@test "arrays: an index each, at most %n at once" {
  script 'echo "$PBS_ARRAY_INDEX $PBS_JOBID"; date +%s.%N >"begin.$PBS_ARRAY_INDEX"; sleep 0.5
date +%s.%N >"end.$PBS_ARRAY_INDEX"'
  id=$(qsub -J 0-4:2%1 job.pbs)
  [[ $id == *"[].stub-pbs-01" ]]
  ended "$id"
  seq=${id%%\[*}
  for i in 0 2 4; do [ "$(cat "eng.o$seq.$i")" = "$i $seq[$i].stub-pbs-01" ]; done
  awk 'NR == 1 {end = $1} NR == 2 {exit !($1 > end)}' end.0 begin.2
  awk 'NR == 1 {end = $1} NR == 2 {exit !($1 > end)}' end.2 begin.4
}

@test "PALS's mpiexec: its options, and no others" {
  script 'mpiexec -n 2 --ppn 1 --bind-to core true'
  id=$(qsub job.pbs)
  ended "$id"
  grep -qx "mpiexec: unrecognized option '--bind-to'" "eng.o${id%%.*}"
  script 'mpiexec -n 5 --ppn 2 true'
  id=$(qsub job.pbs)
  ended "$id"
  grep -q "5 ranks do not fit 1 hosts" "eng.o${id%%.*}"
  run "$PBS_STUB/bin/mpiexec" -n 1 true
  [ "$status" = 1 ]
}
