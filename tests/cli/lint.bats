#!/usr/bin/env bats
# `weft lint`: what users see of it. The rules themselves: tests/plan.

load weft.bash

setup() {
  in_folder
  unset WEFT_MACHINE
  cat >good.pbs <<'PBS'
#!/bin/bash -l
#PBS -A biology
#PBS -q debug
#PBS -l select=2:system=polaris
#PBS -l place=scatter
#PBS -l walltime=0:30:00
#PBS -l filesystems=home:eagle
#PBS -r y
cd "$PBS_O_WORKDIR"
NNODES=$(sort -u "$PBS_NODEFILE" | wc -l)
mpiexec -n $((NNODES * 4)) --ppn 4 --depth 8 --cpu-bind depth weft info
PBS
  sed -e 's/home:eagle/home:grand/' -e '/#PBS -r/d' good.pbs >bad.pbs
}

# errors '[(line, rule), …]': of out, JSON lines.
errors() { json out "[(l['line'], l['rule']) for l in lines if l['severity'] == 'error'] == $1"; }

@test "lint: a good job passes without a word" {
  ok 1 lint good.pbs --machine polaris
  [ ! -s out ]
  WEFT_MACHINE=polaris ok 1 lint good.pbs --json
  [ ! -s out ]
}

@test "lint: file, line, severity, rule and what to write instead; exit 2 where it would not run" {
  weft 1 lint bad.pbs --machine polaris
  [ "$status" = 2 ]
  line='bad.pbs:7: error: the file system grand is gone: the job never runs'
  grep -qxF "$line; instead: filesystems=home:eagle [filesystem]" out
  grep -q '^bad.pbs:2: warning: .*\[rerun\]$' out
  [ "$(cat err)" = 'weft: bad.pbs would not run on polaris (1 error)' ]
  sed -i 's/home:grand/home/' bad.pbs
  ok 1 lint bad.pbs --machine polaris # warnings alone
}

@test "lint: JSON lines, with the file where there are several; one voice on several ranks" {
  weft 1 lint bad.pbs --machine polaris --json
  [ "$status" = 2 ]
  json out 'all(list(line) == ["line", "rule", "severity", "text", "fix"] for line in lines)' \
    '[(l["line"], l["rule"]) for l in lines] == [(2, "rerun"), (7, "filesystem")]' \
    '[l["severity"] for l in lines] == ["warning", "error"]'
  weft 2 lint good.pbs bad.pbs --machine polaris --json
  [ "$status" = 2 ]
  json out 'all(line["file"] == "bad.pbs" for line in lines)' 'len(lines) == 2'
  [ "$(grep -c '^weft: ' err)" = 1 ]
}

@test "lint: the words of any command of weft, as the command takes them" {
  sed -i 's/weft info/weft generate --model M --in a.jsonl --tp 4 --max-new-token 5/' good.pbs
  weft 1 lint good.pbs --machine polaris --json
  [ "$status" = 2 ]
  errors '[(11, "weft-options")]'
  grep -q 'did you mean' out
  # shellcheck disable=SC2016
  sed -i 's/max-new-token 5/max-new-tokens "$N" --top-k many/' good.pbs
  weft 1 lint good.pbs --machine polaris
  [ "$status" = 2 ]
  grep -q -- "--top-k is 'many'" out
  sed -i 's/--top-k many/--top-k 3/' good.pbs
  ok 1 lint good.pbs --machine polaris
  sed -i 's/weft generate/weft generat/' good.pbs
  weft 2 lint good.pbs --machine polaris
  [ "$status" = 2 ]
  grep -q "weft has no command 'generat'" out
}

@test "lint: wrong machines and jobs get one sentence" {
  refused 1 "there is no machine 'polariss' .did you mean 'polaris'" lint good.pbs \
    --machine polariss
  refused 1 'machine is missing' lint good.pbs
  refused 1 'name a job script' lint --machine polaris
  refused 1 'none.pbs' lint none.pbs --machine polaris
  printf 'name = "x"\n[node]\ncoers = 4\n' >x.toml
  refused 1 "x.toml: line 3: \[node\] has no key 'coers' .did you mean 'cores'" lint good.pbs \
    --machine x.toml
  printf 'name = "x"\n' >x.toml
  refused 1 'machine x has no scheduler' lint good.pbs --machine x.toml
  printf '#!/bin/bash\nhostname\n' >plain.sh
  refused 1 'plain.sh: a job without directives: no line begins with #PBS' lint plain.sh \
    --machine polaris
}

@test "lint: a site is a file" {
  cat >x.toml <<'TOML'
name = "x"
[node]
cores = 8
[scheduler]
kind = "slurm"
required = ["account"]
[[queues]]
name = "short"
max = 2
max_walltime_s = 600.0
TOML
  printf '#!/bin/bash\n#SBATCH -A me -p short -N 4 -t 5\nsrun weft info\n' >x.sbatch
  weft 1 lint x.sbatch --machine x.toml --json
  [ "$status" = 2 ]
  errors '[(2, "queue-size")]'
}

@test "info: the machine that is named, and the GPU of each local rank" {
  ok 1 info --machine polaris --json
  json out 'lines[0]["machine"]["name"] == "polaris"' 'lines[0]["gpus_of_ranks"] == [3, 2, 1, 0]'
  WEFT_MACHINE=polaris ok 1 info --gpu-map 0,1,2,3
  grep -q '^GPUs  *of local ranks 0 to 3: 0,1,2,3$' out
  refused 1 '--gpu-map is .3,a.; allowed: the GPU of each local rank' info --machine polaris \
    --gpu-map 3,a
}
