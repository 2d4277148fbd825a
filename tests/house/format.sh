#!/usr/bin/env bash
# The house's format, over all files of a checkout (this one, or FOLDER): C++ and CUDA as
# clang-format 14 writes them, and no line above 100 columns (characters) in any text.
#   tests/house/format.sh [FOLDER]
# Exit code 1: names what is not so; 77: the columns are right, and clang-format 14 is not here.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

files() {
  if [ -e .git ] && git ls-files >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard
  else # an unpacked archive, perhaps built in
    find . \( -name 'build*' -o -name runs -o -name shared -o -name __pycache__ -o -name .git \) \
      -prune -o -type f -print | sed 's|^\./||'
  fi | while IFS= read -r file; do [ -f "$file" ] && printf '%s\n' "$file"; done
}
files=$(files)
status=0

# Exceptions, each with its reason.
LC_ALL=C.UTF-8 python3 - <<<"$files" 3<&0 <<'PY' || status=1
import fnmatch, os, re, sys

EXCEPTIONS = {
    "tests/data/*.py": None,  # the scripts that make the data are no data
    "tests/data/*": "data: what references wrote, corpora, weights",
    "benchmarks/results/*": "results: a record a line",
    "tests/benchmarks/*.txt": "recorded output of nvcc",
    "tests/benchmarks/*.ptx": "recorded output of nvcc",
    "tests/cuda_emulation/mutants.txt": "a sed expression with its test a line",
}
# Written by benchmarks/kernel_table.py: rows of eleven columns, which Markdown cannot break.
BEGIN, END = "<!-- kernel table -->", "<!-- end of the kernel table -->"
URL = re.compile(r"\S*https?://\S{60,}")  # one that alone takes most of a line

long = 0
for name in os.fdopen(3).read().splitlines():
    reason = next((r for p, r in EXCEPTIONS.items() if fnmatch.fnmatch(name, p)), None)
    if reason:
        continue
    with open(name, "rb") as f:
        content = f.read()
    if b"\0" in content:
        continue  # no text
    table = False
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        table = line == BEGIN or (table and line != END)
        if len(line) > 100 and not (table and line.startswith("|")) and not URL.search(line):
            print(f"{name}:{number}: {len(line)} columns; allowed: 100")
            long += 1
sys.exit(long > 0)
PY

if ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
  echo "clang-format 14 is not here: whether C++ is formatted was not looked at" >&2
  [ "$status" = 0 ] && exit 77
  exit "$status"
fi
grep -E '\.(cpp|h|cu|cuh)$' <<<"$files" | tr '\n' '\0' |
  xargs -0 -n 40 -P 2 clang-format --dry-run -Werror --ferror-limit=1 || status=1
exit "$status"
