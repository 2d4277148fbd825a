# Sourced by every job script, by launch/local.sh and by launch/scaling.sh. It reads the machine's
# description, loads its environment and defines, for use in this order:
#   weft_log_job                  says which job this is, where, and on which hosts
#   weft_stripe FOLDER            spreads a new folder's files over a parallel file system's disks
#   weft_stage NAME               copies the file that $NAME names to every node's own disk
#   weft_finished FOLDER WORDS…   true where this command has run to its end before
#   weft_launch -n RANKS --ppn RANKS_PER_NODE --depth THREADS PROGRAM ARGS…
#                                 mpiexec in the machine's dialect; passes signals on; its exit code
#   weft_sweep_options TABLE POINT        the options of one line of a table, in weft_swept
#   weft_nodes, weft_hosts, weft_job_id, weft_value TABLE.KEY [OTHERWISE]
# Set before, or left to it:
#   WEFT_MACHINE         a folder of launch/, or a description (F.toml); none: this host
#   WEFT                 the program; else build-MACHINE/weft, build/weft, or the installed one
#   WEFT_RANKS_PER_NODE  else the machine's GPUs, or its cores where it has none
#   WEFT_THREADS         of a rank; else the node's cores shared among its ranks
#   WEFT_DEVICE          cuda or cpu; else cpu. WEFT_NET, for cuda: full, no-gdr or sockets
#   WEFT_DIALECT, WEFT_LAUNCHER        another launcher's: pals, open_mpi, hydra, srun, local
#   WEFT_MODULES=none    loads no modules
#   WEFT_BIND=none, WEFT_LAUNCH_OPTIONS   ranks unbound; more words for the launcher
#   WEFT_SCRATCH         a node's own disk; empty: nothing is staged
# shellcheck shell=bash

weft_say() { printf 'job: %s\n' "$*" >&2; }
weft_stop() {
  weft_say "$*"
  exit 2
}

# A description's value without its quotes. Arrays and inline tables are not for job scripts.
weft_value() {
  local value=
  [ -z "$WEFT_MACHINE_FILE" ] || value=$(awk -v table="${1%.*}" -v key="${1##*.}" '
    /^[ \t]*\[/ { at = $0; sub(/^[ \t]*\[/, "", at); sub(/\][ \t]*(#.*)?$/, "", at); next }
    at == table && match($0, "^[ \t]*" key "[ \t]*=[ \t]*") {
      value = substr($0, RLENGTH + 1)
      if (value ~ /^"/) { value = substr(value, 2); sub(/".*/, "", value) }
      else sub(/[ \t]*(#.*)?$/, "", value)
      print value
      exit
    }' "$WEFT_MACHINE_FILE")
  printf '%s\n' "${value:-${2:-}}"
}

# 1879859 of 1879859.polaris-pbs-01.…, 123-4 of 123[4].server: fit for a file's name.
weft_job_id() {
  local id=${PBS_JOBID:-${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-local-$$}}}
  [ -n "${PBS_JOBID:-}" ] || id+=${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}
  id=${id%%.*}
  id=${id//\[/-}
  id=${id//\]/}
  printf '%s\n' "${id//[^A-Za-z0-9_-]/-}"
}

# By-GPU queues may name a host once a GPU.
weft_hosts() {
  if [ -r "${PBS_NODEFILE:-}" ]; then
    sort -u "$PBS_NODEFILE"
  elif [ -n "${SLURM_JOB_NODELIST:-}" ] && command -v scontrol >/dev/null; then
    scontrol show hostnames "$SLURM_JOB_NODELIST"
  else
    hostname
  fi
}

weft_nodes() {
  if [ ! -r "${PBS_NODEFILE:-}" ] && [ -n "${SLURM_NNODES:-}" ]; then
    printf '%s\n' "$SLURM_NNODES"
  else
    weft_hosts | wc -l
  fi
}

weft_log_job() {
  local hosts
  hosts=$(weft_hosts | tr '\n' ' ')
  weft_say "$(weft_job_id) (${PBS_JOBNAME:-${SLURM_JOB_NAME:-no queue}}) on" \
    "${WEFT_MACHINE:-this host}, since $(date -u +%Y-%m-%dT%H:%M:%SZ), $(weft_nodes) node(s):" \
    "${hosts% }"
  weft_say "$WEFT on $WEFT_DEVICE, $WEFT_RANKS_PER_NODE rank(s) a node of $WEFT_THREADS" \
    "thread(s)${weft_network_said:+, network: $weft_network_said}"
}

# A folder's layout holds for the files that are made in it later, so before the first checkpoint.
weft_stripe() {
  mkdir -p "$1"
  command -v lfs >/dev/null && [ -z "$(ls -A "$1")" ] || return 0
  local count=${WEFT_STRIPES:-8} size=${WEFT_STRIPE_SIZE:-16M}
  if lfs setstripe -c "$count" -S "$size" "$1" 2>/dev/null; then
    weft_say "$1: files in $count stripes of $size"
  else
    weft_say "$1: lfs setstripe does not serve it; the layout stays as it is"
  fi
}

# weft_stage NAME: $NAME names a file; its copy on each node's own disk afterwards. Where there is
# no such disk, or it lacks the room, the file serves where it is.
weft_stage() {
  local file=${!1} scratch=${WEFT_SCRATCH-$(weft_value node.local_scratch)} nodes copy
  [ -n "$scratch" ] && [ -d "$scratch" ] && [ -w "$scratch" ] && [ -r "$file" ] || return 0
  scratch+=/weft-$(id -un)
  copy=$scratch/$(basename "$file")
  nodes=$(weft_nodes)
  # shellcheck disable=SC2016
  if weft_launch -n "$nodes" --ppn 1 --depth 1 bash -c '
      mkdir -p "$3" || exit 1
      of() { stat -c "%s %Y" "$1" 2>/dev/null; }
      [ "$(of "$2")" != "$(of "$1")" ] || exit 0
      part=$2.part.$(hostname).$$
      cp -p "$1" "$part" && mv "$part" "$2" || { rm -f "$part"; exit 1; }
    ' stage "$file" "$copy" "$scratch"
  then
    weft_say "$file: read from $copy on each node"
    printf -v "$1" '%s' "$copy"
  else
    weft_say "$file: not copied to $scratch; read where it is"
  fi
}

# weft_finished FOLDER WORDS…: a chain's later jobs have nothing to do when an earlier one came to
# the end of the same command. weft_note_finished is told of that end.
weft_finished() {
  local mark=$1/finished
  shift
  [ -r "$mark" ] && [ "$(cat "$mark")" = "$*" ]
}
weft_note_finished() {
  local mark=$1/finished
  shift
  printf '%s\n' "$*" >"$mark.part" && mv "$mark.part" "$mark"
}

# weft_sweep_options TABLE POINT: the options of a table's line, in weft_swept. The first line holds
# their names, tabs stand between cells, and the points are counted from 0.
weft_sweep_options() {
  local names=() values=() i
  IFS=$'\t' read -ra names < <(head -n 1 "$1") || true
  IFS=$'\t' read -ra values < <(sed -n "$(($2 + 2))p" "$1") || true
  [ ${#values[@]} -gt 0 ] || weft_stop "$1: has no line for point $2 of the sweep"
  [ ${#values[@]} = ${#names[@]} ] ||
    weft_stop "$1: the line of point $2 has ${#values[@]} cells, the first line ${#names[@]}"
  weft_swept=()
  for i in "${!names[@]}"; do weft_swept+=("--${names[i]}" "${values[i]}"); done
}

# ------------------------------------------------------------------------------------- the launch

# What ranks on other nodes need of this environment.
weft_exported() {
  compgen -e | grep -E \
    '^((WEFT|OMP|NCCL|FI|MPICH|CUDA|UCX|PBS|SLURM_JOB)_.*|WEFT|PATH|LD_LIBRARY_PATH|TMPDIR)$'
}

# The mpiexec of the MPI that weft was built with. An installed weft says which that is; where the
# PATH's first is another's, Debian's name for each may be there.
weft_built_with() {
  local found mpi
  found=${WEFT_LAUNCHER:-${MPIEXEC:-}}
  [ -n "$found" ] ||
    found=$(sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' "$(dirname "$WEFT")/CMakeCache.txt" \
      2>/dev/null || true)
  if [ -z "$found" ]; then
    found=mpiexec mpi=$("$WEFT" --version 2>/dev/null | grep -i '^ *mpi ' || true)
    case $mpi in
      *Open\ MPI*) weft_is_open_mpi mpiexec || found=$(command -v mpiexec.openmpi || true) ;;
      *MPICH*) ! weft_is_open_mpi mpiexec || found=$(command -v mpiexec.mpich || true) ;;
    esac
  fi
  printf '%s\n' "${found:-mpiexec}"
}
weft_is_open_mpi() { "$1" --version 2>/dev/null | grep -qi 'open *mpi\|openrte'; }

# The words before PROGRAM, in weft_words.
weft_launcher() {
  local ranks=$1 per_node=$2 threads=$3 name hosts binding bind=${WEFT_BIND:-core}
  local mpiexec=${WEFT_LAUNCHER:-$(weft_value launcher.command mpiexec)}
  weft_words=("$mpiexec")
  case $WEFT_DIALECT in
    pals)
      binding=depth
      [ "$bind" != none ] || binding=none
      weft_words+=(-n "$ranks" --ppn "$per_node" --depth "$threads" --cpu-bind "$binding")
      for name in $(weft_exported); do weft_words+=(--env "$name=${!name}"); done
      ;;
    open_mpi)
      weft_words+=(-n "$ranks")
      if [ -r "${PBS_NODEFILE:-}" ]; then
        hosts=${WEFT_JOB_FOLDER:-${TMPDIR:-/tmp}}/weft-hosts-$(weft_job_id)
        weft_hosts | sed "s/\$/ slots=$(weft_value node.cores "$per_node")/" >"$hosts"
        weft_words+=(--hostfile "$hosts")
      fi
      if [ "$bind" = none ]; then
        weft_words+=(--map-by "ppr:$per_node:node" --bind-to none)
      else
        weft_words+=(--map-by "ppr:$per_node:node:PE=$threads" --bind-to core)
      fi
      for name in $(weft_exported); do weft_words+=(-x "$name"); done
      ;;
    hydra)
      weft_words+=(-n "$ranks" -ppn "$per_node")
      [ ! -r "${PBS_NODEFILE:-}" ] || weft_words+=(-f "$PBS_NODEFILE")
      [ "$bind" = none ] || weft_words+=(-bind-to "core:$threads")
      ;;
    srun)
      [ -n "${WEFT_LAUNCHER:-}" ] || weft_words=("$(weft_value launcher.command srun)")
      weft_words+=(-n "$ranks" -N "$(((ranks + per_node - 1) / per_node))"
        --ntasks-per-node="$per_node" --cpus-per-task="$threads" --kill-on-bad-exit=1)
      binding=cores
      [ "$bind" != none ] || binding=none
      weft_words+=(--cpu-bind="$binding")
      ;;
    local) # in a session of its own, or a Ctrl-C would end the ranks before it is passed on
      weft_words=(setsid "$weft_kit/mpiexec.sh" "$(weft_built_with)" "$ranks")
      ;;
    *) weft_stop "launcher dialect '$WEFT_DIALECT'; allowed: pals, open_mpi, hydra, srun, local" ;;
  esac
  local more=()
  read -ra more <<<"${WEFT_LAUNCH_OPTIONS:-}" || true
  weft_words+=("${more[@]}")
  if [ "$WEFT_DIALECT" = open_mpi ] ||
    { [ "$WEFT_DIALECT" = local ] && weft_is_open_mpi "$(weft_built_with)"; }
  then
    weft_words=("${weft_blocking_term[@]}" "${weft_words[@]}")
  fi
}

# A signal is passed on at once: bash runs a trap only when its foreground child has ended, so the
# launcher runs in the background. SIGTERM goes on as SIGUSR1: Open MPI's mpiexec kills its ranks a
# second after a SIGTERM, while every launcher that we could try passes SIGUSR1 on and waits; weft
# takes either as "save and exit with 3". So it does with a Ctrl-C and a lost terminal; a second
# Ctrl-C ends the ranks.
weft_signals=0 weft_interrupts=0 weft_running=
weft_signalled() {
  weft_signals=$((weft_signals + 1))
  [ -z "$weft_running" ] || kill -"$1" "$weft_running" 2>/dev/null || true
}
weft_interrupted() {
  weft_interrupts=$((weft_interrupts + 1))
  if [ "$weft_interrupts" = 1 ]; then weft_signalled USR1; else weft_signalled INT; fi
}
trap 'weft_signalled USR1' TERM USR1 HUP
trap weft_interrupted INT

weft_launch() {
  local ranks=1 per_node=$WEFT_RANKS_PER_NODE threads=$WEFT_THREADS status=0 again=0 seen
  local -x OMP_NUM_THREADS
  while [ $# -gt 0 ]; do
    case $1 in
      -n) ranks=$2 ;;
      --ppn) per_node=$2 ;;
      --depth) threads=$2 ;;
      -*) weft_stop "weft_launch has no $1; allowed: -n, --ppn, --depth, then the program" ;;
      *) break ;;
    esac
    shift 2
  done
  [ $# -gt 0 ] || weft_stop "weft_launch: no program after its options"
  [ "$per_node" -le "$ranks" ] || per_node=$ranks
  [ "$weft_signals" = 0 ] || return 3 # stopped before it began
  OMP_NUM_THREADS=$threads
  weft_launcher "$ranks" "$per_node" "$threads"
  "${weft_words[@]}" "$@" <&0 &
  weft_running=$!
  [ "$weft_signals" = 0 ] || kill -USR1 "$weft_running" 2>/dev/null || true
  while :; do # a signal ends `wait` early
    seen=$weft_signals
    wait "$weft_running" && again=0 || again=$?
    [ "$again" != 127 ] || break
    status=$again
    [ "$seen" != "$weft_signals" ] || break
  done
  weft_running=
  return "$status"
}

# ------------------------------------------------------------------------------------- the machine

weft_kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${WEFT_MACHINE:-} in
  '') WEFT_MACHINE_FILE= ;;
  *.toml) WEFT_MACHINE_FILE=$(realpath -m "$WEFT_MACHINE") ;;
  *) WEFT_MACHINE_FILE=$weft_kit/$WEFT_MACHINE/machine.toml ;;
esac
[ -z "$WEFT_MACHINE_FILE" ] || [ -r "$WEFT_MACHINE_FILE" ] ||
  weft_stop "WEFT_MACHINE is '$WEFT_MACHINE', but $WEFT_MACHINE_FILE is not there"
[ -z "$WEFT_MACHINE_FILE" ] || export WEFT_MACHINE
case ${WEFT_MACHINE:-} in *.toml) WEFT_MACHINE=$WEFT_MACHINE_FILE ;; esac

if [ -z "${WEFT:-}" ]; then
  for WEFT in "$weft_kit/../build-${WEFT_MACHINE:-none}/weft" "$weft_kit/../build/weft" \
    "$weft_kit/../../../bin/weft"
  do
    [ ! -x "$WEFT" ] || break
  done
  WEFT=$(realpath -m "$WEFT")
fi
WEFT_DIALECT=${WEFT_DIALECT:-$(weft_value launcher.dialect local)}
WEFT_DEVICE=${WEFT_DEVICE:-cpu}
weft_cores() { env -u OMP_NUM_THREADS nproc; } # which would count OMP_NUM_THREADS
if [ -z "${WEFT_RANKS_PER_NODE:-}" ]; then
  WEFT_RANKS_PER_NODE=$(weft_value node.gpus 0)
  [ "$WEFT_RANKS_PER_NODE" -gt 0 ] || WEFT_RANKS_PER_NODE=$(weft_value node.cores "$(weft_cores)")
fi
if [ -z "${WEFT_THREADS:-}" ]; then
  WEFT_THREADS=$(($(weft_value node.cores "$(weft_cores)") / WEFT_RANKS_PER_NODE))
  [ "$WEFT_THREADS" -gt 0 ] || WEFT_THREADS=1
fi

# A batch job's launcher gets the queue's SIGTERM itself, as do the ranks. Open MPI's then kills
# them a second later; with the signal blocked it waits for them (it unblocks it for them). Where
# env cannot block it (coreutils before 8.31) it is told to wait this time, twice, which it then
# does after any exit code other than 0 as well.
weft_blocking_term=()
if [ -n "${PBS_JOBID:-}${SLURM_JOB_ID:-}" ]; then
  if env --block-signal=TERM true 2>/dev/null; then
    weft_blocking_term=(env --block-signal=TERM)
  else
    OMPI_MCA_odls_base_sigkill_timeout=$((($(weft_value scheduler.kill_delay_s 10) + 1) / 2))
    export OMPI_MCA_odls_base_sigkill_timeout
  fi
  # PBS's own is too long for the sockets that MPI and CUDA make there. But it is this job's alone,
  # and goes when the job does: what a launcher reads lies there. A script that this one calls finds
  # TMPDIR changed already.
  if [ "${TMPDIR:-/tmp}" != /tmp ] && [ -w "$TMPDIR" ]; then export WEFT_JOB_FOLDER=$TMPDIR; fi
  export TMPDIR=/tmp
fi
# Device data goes by NCCL alone: GPU-aware MPI beside it can deadlock.
export MPICH_GPU_SUPPORT_ENABLED=0

weft_modules() {
  [ "${WEFT_MODULES:-none}" != none ] || return 0
  type module >/dev/null 2>&1 || {
    weft_say "no module command here; the environment serves as it is"
    return 0
  }
  local strict=$-
  set +u # modules read variables that are not set
  [ -z "${WEFT_MODULE_PATH:-}" ] || module use "$WEFT_MODULE_PATH" || true
  # shellcheck disable=SC2086
  module load $WEFT_MODULES ||
    weft_say "not all of '$WEFT_MODULES' could be loaded; WEFT_MODULES names others"
  [[ $strict != *u* ]] || set -u
}

# launch/<machine>/environment.sh: WEFT_MODULES, weft_network RUNG.
weft_network_said=
if [ -n "$WEFT_MACHINE_FILE" ] && [ -r "${WEFT_MACHINE_FILE%/*}/environment.sh" ]; then
  # shellcheck source=launch/polaris/environment.sh
  . "${WEFT_MACHINE_FILE%/*}/environment.sh"
  weft_modules
  [ "$WEFT_DEVICE" != cuda ] || weft_network "${WEFT_NET:=full}"
fi
