#!/usr/bin/env bash
# launch/mpiexec.sh MPIEXEC N PROGRAM ARGS…: N ranks of one thread each on however few cores there
# are, under Open MPI or MPICH.
set -eu
mpiexec=$1 n=$2
shift 2
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if "$mpiexec" --version 2>/dev/null | grep -qi 'open *mpi\|openrte'; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
  exec "$mpiexec" --oversubscribe --bind-to none -n "$n" "$@"
fi
exec "$mpiexec" -n "$n" "$@"
