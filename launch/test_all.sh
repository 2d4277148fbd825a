#!/usr/bin/env bash
# All tests, before an issue ends:   launch/test_all.sh
# launch/test.sh and launch/test_sanitized.sh, then what is long and rarely breaks (ctest's label
# `rare`): launchers and schedulers, whole jobs under them, the whole lesson, and real models, where
# they are at hand (launch/quickstart.sh fetches SmolLM2); then the quick suites with other MPIs:
# Debian's MPICH, and the newest MPICH of PyPI, which has its binary interface. What could not be
# had is said at the end, exit code 1.
#   launch/test_all.sh mpis    the other MPIs alone
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. launch/setup.sh
missing=()
status=0

# quick_suites NAME: those of build-mpich with the MPI that is found first.
quick_suites() {
  build-mpich/weft --version | grep mpi
  (cd build-mpich && ctest --output-on-failure -j 2 -L quick) || { echo "$1: failed" && status=1; }
}

# A folder with MPICH's newest libraries under the names of Debian's, and its mpiexec.
unpack_mpich() {
  local folder=$PWD/build-mpich/pypi data
  mkdir -p "$folder/wheel" "$folder/bin"
  python3 -m pip download -q --no-deps --only-binary :all: -d "$folder" "mpich${1:+==$1}" ||
    return 1
  python3 -m zipfile -e "$(find "$folder" -name 'mpich-*.whl' | sort -V | tail -1)" "$folder/wheel"
  data=$(find "$folder/wheel" -maxdepth 2 -name data | sort -V | tail -1)
  chmod +x "$data"/bin/*
  ln -sf libmpi.so.12 "$data/lib/libmpich.so.12"
  # Its launcher looks for its helper beside itself, so no link.
  printf '#!/bin/sh\nexec %s/bin/mpiexec.hydra "$@"\n' "$data" >"$folder/bin/mpiexec.mpich"
  chmod +x "$folder/bin/mpiexec.mpich"
  # shellcheck disable=SC2031
  export PATH=$folder/bin:$PATH LD_LIBRARY_PATH=$data/lib:$data/lib/mpich
}

if [ "${1:-}" != mpis ]; then
  weft_install_packages slurm-wlm slurm-wlm-torque munge iproute2 ||
    missing+=("packages of the rare tests")
  launch/test.sh || status=1
  launch/test_sanitized.sh || status=1
  (cd build && ctest --output-on-failure -j 2 -L rare) || status=1
  if [ -d build-runtime ]; then
    (cd build-runtime && ctest --output-on-failure -R '^parity_cuda_[34]$') || status=1
  fi
fi

if weft_install_packages mpich libmpich-dev libhdf5-mpich-dev &&
  weft_build mpich "${WEFT_QUICK_TARGETS[@]}"
then
  quick_suites "MPICH of the distribution"
  (
    unpack_mpich "${WEFT_MPICH_VERSION:-}" || exit 77
    quick_suites "MPICH of PyPI"
    (cd build-mpich && ctest --output-on-failure -R '^launch_(jobs|slurm)$') || status=1
    exit "$status"
  )
  case $? in
    0) ;;
    77) missing+=("MPICH of PyPI") ;;
    *) status=1 ;;
  esac
else
  missing+=("MPICH of the distribution, and so that of PyPI")
fi
for what in "${missing[@]}"; do
  echo "not tested: $what" >&2
  status=1
done
exit "$status"
