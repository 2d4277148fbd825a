#!/usr/bin/env python3
"""What nvcc makes of kernels/cuda/*.cu for sm_80 and sm_90: registers, spills, shared memory and
the instructions that matter, one row a kernel, joined with the launches that `weft_gpu_bench
--launches` lists, into the table of kernels/README.md.
   benchmarks/kernel_table.py [build-emulated/weft_gpu_bench]   compile, list the launches, write it
   benchmarks/kernel_table.py --check                           compile only
Exit code 1 where a kernel spills.
"""
import argparse
import concurrent.futures
import hashlib
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGETS = {"sm_80": 164 * 1024, "sm_90": 228 * 1024}  # shared memory of a multiprocessor
# As cmake/cuda.cmake compiles them.
FLAGS = [
    "-std=c++20", "-O3", "-DNDEBUG", "-DFMT_CONSTEVAL=", "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=sm_90", "-Xptxas=-v", "-I.", "-Isrc", "-Ikernels/cuda/nvcc"
]
# the 40 GB card; by what the kernel multiplies with
A100_BYTES_PER_S, A100_FLOPS = 1555e9, {"bf16": 312e12, "tf32": 156e12, "": 19.5e12}
# 16-byte loads from global memory; the address may be generic, where it comes from a table in
# memory.
INSTRUCTIONS = {
    "mma": r"mma\.sync\S*", "mma_tf32": r"mma\.sync\S*\.tf32\S*", "ldmatrix": r"ldmatrix\S*",
    "cp_async": r"cp\.async\.c[ag]\.shared\S*",
    "load_16": r"ld(?:\.global\S*)?\.(?:v4\.[bfus]32|v2\.[bfus]64)"
}
BEGIN, END = "<!-- kernel table -->", "<!-- end of the kernel table -->"


def parse_ptxas(text):
    """{(target, mangled name): {registers, static_shared, stack, spill_stores, spill_loads}} of
    `ptxas -v`."""
    kernels, current, function = {}, None, None
    for line in text.splitlines():
        if m := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            current = kernels.setdefault((m[2], m[1]), {
                "registers": 0, "static_shared": 0, "stack": 0, "spill_stores": 0, "spill_loads": 0
            })
            function = m[1]
        elif m := re.search(r"Function properties for (\S+)", line):
            function = m[1]
        elif m := re.search(
                r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads",
                line):
            if current is not None:  # those of the functions that a kernel calls follow its own
                for key, value in zip(("stack", "spill_stores", "spill_loads"), m.groups()):
                    current[key] += int(value)
        elif (m := re.search(r"Used (\d+) registers", line)) and current is not None:
            current["registers"] = int(m[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                current["static_shared"] = int(shared[1])
    if not kernels and function is None:
        raise ValueError("no kernel in the output of ptxas")
    return kernels


def parse_ptx(text):
    """{mangled name: {mma, ldmatrix, cp_async, load_16}}: how often each stands in the body of a
    kernel."""
    counts = {}
    for m in re.finditer(r"\.entry\s+(\S+?)\s*\(.*?^\{(.*?)^\}", text, re.M | re.S):
        counts[m[1]] = {
            name: len(re.findall(r"^\s*(?:@\S+\s+)?" + pattern + r"\s", m[2], re.M))
            for name, pattern in INSTRUCTIONS.items()
        }
    return counts


def blocks_per_sm(target, registers, threads, shared_bytes):
    """How many blocks of a kernel one multiprocessor holds: by registers (given to a warp in units
    of 256, a quarter of the 65536 to each of four schedulers), threads (2048), blocks (32) and
    shared memory (128 bytes, and 1 KB more for each block)."""
    warps = math.ceil(threads / 32)
    register_warps = 4 * (16384 // (math.ceil(max(registers, 1) * 32 / 256) * 256))
    return min(32, 64 // warps, register_warps // warps,
               TARGETS[target] // (math.ceil(shared_bytes / 128) * 128 + 1024))


def sources():
    return sorted((ROOT / "kernels/cuda").glob("*.cu"))


def compile_source(source, folder):
    """(ptxas -v output, PTX) of one source, from the folder where nothing that it may include has
    changed."""
    headers = sorted(p for part in ("kernels", "src/core") for p in (ROOT / part).rglob("*.*h"))
    digest = hashlib.sha256(
        subprocess.run(["nvcc", "--version"], capture_output=True, check=True).stdout +
        " ".join(FLAGS).encode())
    for path in [source, *headers]:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    kept = folder / f"{source.stem}-{digest.hexdigest()[:16]}"
    if not (kept / "ptxas.txt").exists():
        for old in folder.glob(f"{source.stem}-" + "[0-9a-f]" * 16):
            shutil.rmtree(old)
        kept.mkdir(parents=True)
        run = subprocess.run([
            "nvcc", *FLAGS, "-fatbin", "--keep", "--keep-dir",
            str(kept),
            str(source.relative_to(ROOT)), "-o",
            str(kept / "fatbin")
        ],
                             cwd=ROOT,
                             capture_output=True,
                             text=True)
        if run.returncode != 0:
            sys.exit(f"nvcc {source.name}:\n" +
                     "\n".join(line for line in run.stderr.splitlines() if "error" in line))
        for path in kept.iterdir():  # hundreds of megabytes of intermediate files
            if path.suffix != ".ptx":
                path.unlink()
        (kept / "ptxas.txt").write_text(run.stdout + run.stderr)  # last: what marks a whole entry
    ptx = [p for p in sorted(kept.glob("*.ptx")) if "compute_90" not in p.name]
    return (kept / "ptxas.txt").read_text(), "".join(p.read_text() for p in ptx)


def compile_all(folder):
    kernels, counts = {}, {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for ptxas, ptx in pool.map(lambda s: compile_source(s, folder), sources()):
            if "Compiling entry function" in ptxas:
                kernels |= parse_ptxas(ptxas)
            counts |= parse_ptx(ptx)
    return kernels, counts


def demangled(names):
    run = subprocess.run(["c++filt"],
                         input="\n".join(names),
                         capture_output=True,
                         text=True,
                         check=True)
    return dict(zip(names, (short(s) for s in run.stdout.splitlines())))


def short(signature):
    """attention_kernel<bf16, 128> of its demangled signature."""
    name = re.sub(r"^void ", "", signature).replace("weft::cuda::",
                                                    "").replace("(anonymous namespace)::", "")
    depth, end = 0, len(name)
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            end = i
            break
    return re.sub(r"\((?:int|bool|long|unsigned int)\)", "",
                  name[:end]).replace("__nv_bfloat16",
                                      "bf16").replace("float", "fp32").replace("__half", "fp16")


def roofline_s(launch, counts):
    unit = "" if counts["mma"] == 0 else "tf32" if counts["mma_tf32"] else "bf16"
    return max(launch["bytes"] / A100_BYTES_PER_S, launch["flops"] / A100_FLOPS[unit])


def number(x):
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def table(kernels, counts, launches):
    """Markdown lines: the kernels that are launched, or spill. Of a kernel's launches the first is
    shown: its plainest case."""
    first, others = {}, []
    for launch in launches:
        first.setdefault(launch["kernel"], launch)
    names = demangled(sorted({k for _, k in kernels}))
    lines = [
        "| kernel | registers sm_80, sm_90 | spilled bytes | threads | shared KB | blocks per SM "
        "(occupancy) sm_80, sm_90 | mma, ldmatrix, cp.async, 16-byte loads | "
        "case | MB | GFLOP | A100 roofline µs |", "|" + " --- |" * 11
    ]
    for mangled, name in sorted(names.items(), key=lambda item: item[1]):
        of = {t: kernels[t, mangled] for t in TARGETS}
        spilled = max(k["spill_stores"] + k["spill_loads"] for k in of.values())
        c = counts[mangled]
        if mangled not in first and spilled == 0:
            others += of.values()
            continue
        row = [f"`{name}`", ", ".join(str(k["registers"]) for k in of.values()), str(spilled)]
        instructions = ", ".join(str(c[i]) for i in ("mma", "ldmatrix", "cp_async", "load_16"))
        if launch := first.get(mangled):
            threads = math.prod(launch["block"])
            blocks = {
                t: blocks_per_sm(t, k["registers"], threads,
                                 launch["shared_bytes"] + k["static_shared"]) for t, k in of.items()
            }
            row += [
                str(threads),
                number((launch["shared_bytes"] + of["sm_80"]["static_shared"]) / 1024), ", ".join(
                    f"{b} ({100 * b * math.ceil(threads / 32) // 64} %)" for b in blocks.values()),
                instructions, launch["case"],
                number(launch["bytes"] / 1e6),
                number(launch["flops"] / 1e9),
                number(1e6 * roofline_s(launch, c))
            ]
        else:
            row += [
                "",
                number(of["sm_80"]["static_shared"] / 1024), "", instructions, "in no case", "", "",
                ""
            ]
        lines.append("| " + " | ".join(row) + " |")
    if others:
        registers = [k["registers"] for k in others]
        lines += [
            "", f"{len(others) // len(TARGETS)} kernels more are in none of these cases (unaligned "
            "rows, other head dims, activations and",
            f"dtypes): {min(registers)} to {max(registers)} registers, nothing spilled."
        ]
    return lines


def write_between_markers(readme, lines):
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{readme} does not hold the markers {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    readme.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def spills(kernels):
    return sorted((k, t, v["spill_stores"] + v["spill_loads"])
                  for (t, k), v in kernels.items()
                  if v["spill_stores"] + v["spill_loads"] > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench",
                        nargs="?",
                        default=str(ROOT / "build-emulated/weft_gpu_bench"),
                        help="weft_gpu_bench of an emulated build")
    parser.add_argument("--check", action="store_true", help="only look for spilled registers")
    parser.add_argument("--folder",
                        type=pathlib.Path,
                        default=ROOT / "build-kernel-table",
                        help="what has been compiled is kept here")
    parser.add_argument("--readme", type=pathlib.Path, default=ROOT / "kernels/README.md")
    args = parser.parse_args()
    kernels, counts = compile_all(args.folder)
    if not args.check:
        run = subprocess.run([args.bench, "--launches"], stdout=subprocess.PIPE, text=True)
        if run.returncode != 0:
            sys.exit(f"{args.bench} --launches failed; build it with -DWEFT_CUDA=EMULATED")
        launches = [json.loads(line) for line in run.stdout.splitlines()]
        unknown = {x["kernel"] for x in launches} - {k for _, k in kernels} - {"cuBLASLt"}
        if unknown:
            sys.exit("launched, but not compiled from these sources (rebuild weft_gpu_bench): " +
                     ", ".join(sorted(unknown)))
        write_between_markers(args.readme, table(kernels, counts, launches))
    bad = spills(kernels)
    for kernel, target, n in bad:
        print(f"{short(demangled([kernel])[kernel])} spills {n} bytes on {target}", file=sys.stderr)
    print(f"{len(kernels) // len(TARGETS)} kernels, {len(bad)} spills")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
