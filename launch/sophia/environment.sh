# Sophia: modules and network settings, sourced by launch/job.sh. Versions and paths change with the
# machine's upgrades (`module avail`); each is a variable that may be set before, and
# WEFT_MODULES=none takes what is loaded already. None of this has run on Sophia.
# shellcheck shell=bash disable=SC2034

WEFT_MODULE_PATH=${WEFT_MODULE_PATH:-}
WEFT_MODULES=${WEFT_MODULES:-compilers/openmpi hdf5 cmake}

# weft_network full|no-gdr|sockets: the ladder to climb down when NCCL hangs or is slow between
# nodes. NCCL speaks InfiniBand verbs by itself. Busbw of nccl-tests' all-reduce of 1 GiB on two
# nodes of eight GPUs, as published by argonne-lcf/alcf-nccl-tests (2025-06), not measured by us:
#   full     178.2 GB/s; the recommendation for Polaris changes nothing here
#   no-gdr   no GPU writes to a network card by itself; not published
#   sockets  no InfiniBand; not published
weft_network() {
  unset NCCL_NET NCCL_NET_GDR_LEVEL
  case $1 in
    full) ;;
    no-gdr) export NCCL_NET_GDR_LEVEL=LOC ;;
    sockets) export NCCL_NET=Socket ;;
    *)
      echo "job: WEFT_NET is '$1'; allowed: full, no-gdr, sockets" >&2
      exit 2
      ;;
  esac
  weft_network_said="$1 (NCCL_NET ${NCCL_NET:-IB})"
}
