"""What the commands of the stub PBS server share: its folder ($PBS_STUB), its jobs, their states.

The server has no process of its own: each job, or subjob of an array, is a folder jobs/ID with
job.json (what was asked for) and state.json (what became of it), and a process (mom.py) that waits
for its turn and runs it. One lock guards all of them.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import re
import sys
import time
import tomllib

NAME = "stub-pbs-01"
# As pbs_error.h numbers them: what a command exits with.
UNKNOWN_JOB, JOB_FINISHED = 153, 35
JOB_EXEC_KILL_WALLTIME = -29


class Refused(Exception):
    """A request that PBS refuses, in its own words."""


def root():
    folder = os.environ.get("PBS_STUB")
    if not folder or not os.path.exists(f"{folder}/server.json"):
        sys.exit("cannot connect to server stub-pbs-01 (errno=15010)")
    return pathlib.Path(folder)


def settings():
    """hosts (their names), kill_delay, machine (a machine.toml or null), short (no least walltime),
    network (the hosts are namespaces: hosts/NAME holds a process in each)."""
    return json.loads((root() / "server.json").read_text())


@contextlib.contextmanager
def locked():
    with open(root() / "lock", "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(path, value):
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(value, indent=1))
    beside.rename(path)


def folder(job_id):
    return root() / "jobs" / job_id.split(".")[0]


def job(job_id):
    return json.loads((folder(job_id) / "job.json").read_text())


def state(job_id):
    return json.loads((folder(job_id) / "state.json").read_text())


def change(job_id, **fields):
    """Sets fields of a job's state; under the lock."""
    path = folder(job_id) / "state.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    write(path, {**old, **fields})


def full_id(text):
    """`12`, `12[3]`, `12[]` or either with the server's name, as the server spells it."""
    match = re.fullmatch(rf"(\d+(?:\[\d*\])?)(?:\.{NAME})?", text)
    if not match or not folder(match[1]).exists():
        raise Refused(f"Unknown Job Id {text}")
    return f"{match[1]}.{NAME}"


def subjobs(job_id):
    """The subjobs of an array `12[]`, by index."""
    seq = job_id.split("[")[0]
    found = [path.name for path in (root() / "jobs").glob(f"{seq}[[]*[]]")]
    indices = sorted(int(name[len(seq) + 1:-1]) for name in found if name != f"{seq}[]")
    return [f"{seq}[{index}].{NAME}" for index in indices]


def waiting_or_running(queue):
    """The jobs of a queue that have not ended; an array counts as one."""
    names = [path.name for path in (root() / "jobs").glob("*")]
    return [name for name in names if not re.search(r"\[\d", name)
            and job(name)["queue"] == queue and state(name)["state"] != "F"]


def next_number():
    """The next job's number; under the lock."""
    path = root() / "number"
    number = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(number))
    return number


def seconds(text):
    """`90`, `1:30` or `0:01:30`; None where it is no duration."""
    if not re.fullmatch(r"\d+(:\d+){0,2}(\.\d+)?", text):
        return None
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return int(total)


def clock(total):
    total = int(total)
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}"


def date(when):
    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(when))


def machine():
    """The machine's description as launch/<machine>/machine.toml has it, or none: one queue that
    takes all."""
    path = settings()["machine"]
    if not path:
        return {"scheduler": {}, "queues": [{"name": "workq"}]}
    with open(path, "rb") as file:
        return tomllib.load(file)
