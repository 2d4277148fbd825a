# Sourced by the other scripts: weft_install_packages, weft_build PRESET [target].
# shellcheck shell=bash

WEFT_PACKAGES=(g++ cmake ninja-build pkg-config git ccache python3 clang-format
  libopenmpi-dev openmpi-bin libhdf5-openmpi-dev hdf5-tools libdnnl-dev libhwy-dev
  nlohmann-json3-dev libtomlplusplus-dev libcli11-dev libfmt-dev libspdlog-dev libpcre2-dev
  libutf8proc-dev libhwloc-dev zlib1g-dev libcpp-httplib-dev
  libgtest-dev libbenchmark-dev libboost-context-dev
  bats dict-gcide python3-pip)
# What tests look at the scripts, pages and an installation with.
# shellcheck disable=SC2034
WEFT_TEST_PACKAGES=(shellcheck chromium chromium-driver cmark-gfm lmod man-db xz-utils zsh)

# What ctest's label `quick` runs.
# shellcheck disable=SC2034
WEFT_QUICK_TARGETS=(weft core_test comm_test io_test ledger_test machine_test text_test kernels_test
  formats_test model_test plan_test inspect_test report_test benchmarks_test serve_test)

# weft_install_packages [PACKAGE…]: installs what is missing of WEFT_PACKAGES and those where we may
# (Debian, Ubuntu, as root or with sudo without a password); otherwise names it and stops.
weft_install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    weft_have_tools && return 0
    weft_name_modules
    return 1
  fi
  local missing=() package
  for package in "${WEFT_PACKAGES[@]}" "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then
      as_root=(sudo)
    else
      echo "missing packages: ${missing[*]}" >&2
      echo "install them with:  sudo apt-get install ${missing[*]}" >&2
      weft_name_modules
      return 1
    fi
  fi
  echo "installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null
}

weft_have_tools() {
  command -v cmake >/dev/null && command -v mpiexec >/dev/null && command -v pkg-config >/dev/null
}

weft_name_modules() {
  local file
  cat >&2 <<'TEXT'
Weft needs a C++20 compiler, CMake 3.25, an MPI, parallel HDF5, oneDNN (or a CBLAS), Highway,
nlohmann-json, toml++, CLI11, fmt, spdlog, PCRE2, utf8proc, hwloc and zlib; weft serve also
cpp-httplib. Machines with modules have a launch/MACHINE/build.pbs, which loads (versions change;
see `module avail`):
TEXT
  for file in launch/*/environment.sh; do
    # shellcheck source=launch/polaris/environment.sh
    (
      . "$file"
      echo "  $(basename "$(dirname "$file")"):" \
        "${WEFT_MODULE_PATH:+module use $WEFT_MODULE_PATH; }module load $WEFT_MODULES"
    ) >&2
  done
}

# Prints the path of an nvcc that takes C++20 (CUDA 12.2 or later), or fails.
weft_find_nvcc() {
  local nvcc release
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  [ -x "$nvcc" ] || return 1
  release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 12.2 "$release" | sort -V | head -1)" = 12.2 ] && echo "$nvcc"
}

# weft_build PRESET [TARGET…] [-D…]: configures and builds a preset of CMakePresets.json, in build/
# (release) or build-PRESET/.
weft_build() {
  local preset=$1 folder=build targets=() options=() argument
  shift
  [ "$preset" = release ] || folder=build-$preset
  for argument in "$@"; do
    case $argument in
      -D*) options+=("$argument") ;;
      *) targets+=("$argument") ;;
    esac
  done
  [ ${#targets[@]} -gt 0 ] || targets=(all)
  if command -v ninja >/dev/null && [ ! -e "$folder/CMakeCache.txt" ]; then options+=(-G Ninja); fi
  cmake --preset "$preset" "${options[@]}" >"$folder.log" 2>&1 || {
    cat "$folder.log" >&2
    return 1
  }
  rm -f "$folder.log"
  cmake --build "$folder" --target "${targets[@]}" --parallel "$(nproc)"
}
