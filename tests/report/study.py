"""Run logs of a study that never ran, for looking at reports: study.make(FOLDER) writes run folders
of strong and weak scaling with repeats, a long resumed run, text jobs, a damaged log and one whose
names are markup."""
import json
import math
import random

SHARES = ("forward", "backward", "comm", "optimizer", "bubble", "data", "other")


def start(tp=1, pp=1, dp=1, batch=32, **more):
    line = {
        "event": "start", "log_version": 1, "time": "2026-11-29T19:30:00Z", "version": "0.1.0",
        "commit": "0123456789abcdef", "mpi": "Open MPI v4.1.4, package: Debian",
        "hosts": [f"node{i:03}" for i in range(max(1, tp * pp * dp // 4))],
        "grid": {"tp": tp, "pp": pp, "dp": dp}, "ranks": tp * pp * dp,
        "nodes": max(1, tp * pp * dp // 4),
        "model": {"family": "gpt2", "layers": 12, "width": 768, "context": 1024}, "task": "clm",
        "parameters": 124439808, "threads": 8, "dtype": "fp32", "device": "cpu",
        "batch_size": batch, "what": "train", "cpu": "A processor @ 2.80GHz",
        "machine": {"name": "testbed", "site": "here"}, "peaks": {"matmul_flops": 4.1e11},
        "command": f"weft train --data tokens.h5 --tp {tp} --pp {pp} --batch-size {batch}",
        "options": {"lr": 0.0003, "batch_size": batch, "tp": tp, "pp": pp}, "step": 0
    }
    return {**line, **more}


def steps(first, last, speed, rng, ranks=1, at=0.0):
    """Step lines; the first three of them are slow."""
    for step in range(first, last + 1):
        tokens = 32 * 1024
        rate = speed * rng.uniform(0.93, 1.04) / (3 if step < first + 3 else 1)
        comm, bubble = (0.04 * math.log2(ranks), 0.02 * math.log2(ranks))
        parts = [0.3, 0.55, comm, 0.06, bubble, 0.013, 0.02]
        at += tokens / rate
        yield {
            "event": "step", "step": step,
            "loss": 3 + 8 * math.exp(-step / 300) + rng.gauss(0, 0.05), "grad_norm": 1.0,
            "lr": 3e-4, "tokens": tokens, "step_s": tokens / rate, "tokens_per_s": rate,
            "mfu": rate / speed * 0.41, "peak_share": rate / speed * 0.44, "elapsed_s": at,
            "comm_bytes": 0 if ranks == 1 else int(4.9e8 * (ranks - 1) / ranks * 2),
            "shares": dict(zip(SHARES, [p / sum(parts) for p in parts]))
        }


def write(folder, name, lines, torn=""):
    (folder / name).mkdir(parents=True)
    (folder / name / "run.jsonl"
    ).write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def scaling(folder, rng):
    for tp, pp, dp in ((1, 1, 1), (2, 1, 1), (4, 1, 1), (1, 1, 2), (1, 1, 4), (1, 1, 8), (2, 2, 1),
                       (2, 2, 2)):
        ranks = tp * pp * dp
        for weak in (False, True):
            if weak and (ranks == 1 or tp * pp > 1):
                continue
            speed = 900 * ranks**(0.97 if weak else 0.88 if dp > 1 else 0.82)
            for repeat in (1, 2, 3):
                write(folder, f"{'weak' if weak else 'strong'}-tp{tp}-pp{pp}-dp{dp}-{repeat}",
                      [start(tp, pp, dp, 32 * (ranks if weak else 1))] +
                      list(steps(1, 12, speed * rng.uniform(0.97, 1.03), rng, ranks)) +
                      [{"event": "end", "step": 12, "reason": "done", "elapsed_s": 400.0}])


def long_run(folder, rng):
    """5,000 steps; killed after 2,600, resumed from 2,500."""
    first = list(steps(1, 2600, 21000, rng, 4))
    second = list(steps(2501, 5000, 26000, rng, 4))
    evals = [{"event": "eval", "step": s, "loss": 3.1 + 8 * math.exp(-s / 300)}
             for s in range(500, 2501, 500)]
    model = {"family": "llama", "layers": 8, "width": 512, "context": 1024}
    resumed = {"from": "checkpoints/step-00002500.h5", "step": 2500, "lost_tokens": 3276800,
               "lost_s": 156.0}
    again = start(dp=4, batch=64, model=model, step=2500, resumed=resumed)
    write(folder, "long",
          [start(dp=4, batch=64, model=model)] + first + evals + [again] + second,
          torn='{"event":"step","ste')


def text_jobs(folder):
    for ranks in (1, 2):
        write(folder, f"generate-{ranks}", [
            start(dp=ranks, what="generate", options={"max_new_tokens": 64},
                  command=f"mpiexec -n {ranks} weft generate --in prompts.jsonl --log run.jsonl"),
            {"event": "progress", "elapsed_s": 10.0, "items": 50, "prompt_tokens": 1e4,
             "new_tokens": 3200},
            {"event": "end", "reason": "done", "elapsed_s": 41.5 / ranks, "items": 200,
             "prompt_tokens": 41000, "new_tokens": 12800, "prompt_tokens_per_s": 4100.0 * ranks,
             "new_tokens_per_s": 408.0 * ranks, "tokens_per_s": 1296.0 * ranks,
             "ttft_s": {"p50": 0.13, "p95": 0.31, "p99": 0.4},
             "inter_token_s": {"p50": 0.019, "p95": 0.024, "p99": 0.045}, "batch_occupancy": 0.91,
             "cache_use": 0.63, "cache_shared": 0.21, "preemptions": 3, "comm_share": 0.0,
             "queue_s": {"p50": 1.2, "p95": 3.5, "p99": 3.9},
             "streamed_bytes": 2.1e11, "streamed_bytes_per_s": 8.1e9,
             "read_peak_bytes_per_s": 1.3e10, "peak_share": 0.31,
             "comm_bytes": 0, "shares": dict(zip(SHARES, (0.93, 0, 0, 0, 0.03, 0.01, 0.03)))}])


def make(folder):
    rng = random.Random(17)
    scaling(folder, rng)
    long_run(folder, rng)
    text_jobs(folder)
    write(folder, "zz-damaged", [], torn='not json at all\n{"event":"step"}\n')
    write(folder, "zz-\"><script>document.title='broken in'</script>&",
          [start(dp=4, batch=64, command="weft train --out '</pre><img src=x onerror=alert(1)>'",
                 options={"model": "<script>alert('model')</script>"})] +
          list(steps(1, 8, 10000, rng, 4)))
