# Polaris: modules and network settings, sourced by launch/job.sh. Versions and paths change with
# the machine's upgrades (`module avail`); each is a variable that may be set before, and
# WEFT_MODULES=none takes what is loaded already. None of this has run on Polaris.
# shellcheck shell=bash disable=SC2034

WEFT_MODULE_PATH=${WEFT_MODULE_PATH:-/soft/modulefiles}
WEFT_DEVICE_MODULES=
[ "${WEFT_DEVICE:-cpu}" != cuda ] || WEFT_DEVICE_MODULES=" cudatoolkit-standalone"
WEFT_MODULES=${WEFT_MODULES:-PrgEnv-gnu craype-x86-milan cray-hdf5-parallel gcc-native \
spack-pe-base cmake${WEFT_DEVICE_MODULES}}
# NCCL, whose header the build needs and whose library the ranks load.
WEFT_NCCL=${WEFT_NCCL:-/soft/libraries/nccl/nccl_2.28.3-1+cuda12.9_x86_64}
[ "${WEFT_DEVICE:-cpu}" != cuda ] || export NCCL_HOME=${NCCL_HOME:-$WEFT_NCCL}
WEFT_OFI_NCCL=${WEFT_OFI_NCCL:-/soft/libraries/aws-ofi-nccl/v1.9.1-aws/lib}
WEFT_HWLOC=${WEFT_HWLOC:-/soft/libraries/hwloc/lib}

# weft_network full|no-gdr|sockets: the ladder to climb down when NCCL hangs or is slow between
# nodes. Busbw of nccl-tests' all-reduce of 1 GiB on two nodes of four GPUs, as published by
# argonne-lcf/alcf-nccl-tests (2025-06), none of it measured by us:
#   full     36.1 GB/s: the facility's recommendation (user-guides, NCCL page)
#   no-gdr   12.8 GB/s: without NCCL_NET_GDR_LEVEL, which hung PyTorch on two nodes and more
#   sockets  9.45 GB/s with NCCL 2.18, 3.10 with 2.21: no plug-in at all
weft_network() {
  case $1 in
    full | no-gdr)
      export NCCL_NET="AWS Libfabric" NCCL_CROSS_NIC=1 NCCL_COLLNET_ENABLE=1
      export FI_CXI_DISABLE_HOST_REGISTER=1 FI_MR_CACHE_MONITOR=userfaultfd
      export FI_CXI_DEFAULT_CQ_SIZE=131072
      export LD_LIBRARY_PATH=$WEFT_OFI_NCCL:$WEFT_HWLOC${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
      unset NCCL_NET_GDR_LEVEL
      [ "$1" = no-gdr ] || export NCCL_NET_GDR_LEVEL=PHB
      ;;
    sockets)
      unset NCCL_NET_GDR_LEVEL NCCL_CROSS_NIC NCCL_COLLNET_ENABLE
      export NCCL_NET=Socket NCCL_SOCKET_IFNAME=hsn
      ;;
    *)
      echo "job: WEFT_NET is '$1'; allowed: full, no-gdr, sockets" >&2
      exit 2
      ;;
  esac
  weft_network_said="$1 (NCCL_NET ${NCCL_NET})"
}
