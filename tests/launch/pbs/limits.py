"""What the server and ALCF's hooks refuse at submission, from launch/<machine>/machine.toml."""
import os
import re

import server
from server import Refused

# Resources that OpenPBS knows by itself.
KNOWN = {"select", "place", "walltime", "ncpus", "mem", "cput", "nodes", "mpiprocs", "ompthreads",
         "ngpus", "vmem", "host", "min_walltime", "max_walltime", "software"}


def chunks(asked):
    """The chunks of select: [count, {resource: value}]."""
    found = []
    for part in asked["l"].get("select", "1").split("+"):
        first, *rest = part.split(":")
        count = 1
        if re.fullmatch(r"\d+", first):
            count = int(first)
        else:
            rest = [first, *rest]
        pairs = dict(item.partition("=")[::2] for item in rest)
        if count == 0 or not all(pairs.values()):
            raise Refused("Illegal attribute or resource value Resource_List.select")
        found.append([count, pairs])
    return found


def admit(asked):
    """The queue that takes the job, and its fate: None, `waits` (it never runs) or `dropped`."""
    machine = server.machine()
    scheduler, queues = machine["scheduler"], machine["queues"]
    required = scheduler.get("required", [])
    if "account" in required and not asked.get("A"):
        raise Refused("Account_Name is required to be set.")
    for name in ("walltime", "filesystems", "select"):
        if name in required and name not in asked["l"]:
            raise Refused(f"Resource: {name} is required to be set.")
    for name in asked["l"]:
        if name not in KNOWN | set(scheduler.get("resources", ["filesystems"])):
            raise Refused(f"Unknown resource Resource_List.{name}")
    wanted = chunks(asked)
    in_chunks = KNOWN | set(scheduler.get("chunk_resources", ["system"]))
    for _, pairs in wanted:
        for name in pairs:
            if name not in in_chunks:
                raise Refused(f'Resource invalid in "select" specification: {name}')
    for system in filter(None, asked["l"].get("filesystems", "").split(":")):
        allowed = scheduler.get("file_systems", [])
        if allowed and system not in allowed:
            raise Refused("Illegal attribute or resource value Resource_List.filesystems")
    keep = scheduler.get("keep_files")
    if keep and sorted(asked.get("k", keep)) != sorted(keep):
        raise Refused(f"Job output: only -k {keep} is allowed.")
    for flag in "oe":
        if flag in asked and not os.path.isdir(os.path.dirname(asked[flag]) or "."):
            raise Refused(f"-{flag} {asked[flag]}: directory not found")
    by_name = {queue["name"]: queue for queue in queues}
    if "q" in asked:
        queue = by_name.get(asked["q"])
        if not queue:
            raise Refused("Unknown queue")
    else:
        queue = next((queue for queue in queues if queue.get("default")), queues[0])
    if not queue.get("available", True):
        raise Refused("Queue is not enabled")
    if not queue.get("direct", True):
        raise Refused("Access to queue is denied")
    most = queue.get("jobs_per_user", 0)
    if most and len(server.waiting_or_running(queue["name"])) >= most:
        raise Refused(f"would exceed queue {queue['name']}'s per-user limit")
    count = sum(number for number, _ in wanted)
    walltime = server.seconds(asked["l"].get("walltime", "0"))
    if not fits(queue, count, walltime):
        raise Refused("Job violates queue and/or server resource limits")
    fate = None
    if queue.get("routes_to"):
        ends = [by_name[name] for name in queue["routes_to"] if name in by_name]
        queue = next((end for end in ends if fits(end, count, walltime)), None)
        if not queue:
            return ends[0], "dropped"
    most = scheduler.get("max_ncpus", 0)
    if most and any(int(pairs.get("ncpus", 0)) > most for _, pairs in wanted):
        fate = "waits"
    at_once = queue.get("max_array_running", 0)
    if "J" in asked and at_once:
        begin, end, step, running = asked["J"]
        width = len(range(begin, end + 1, step))
        if (running or width) > at_once:
            fate = "waits"
    return queue, fate


def fits(queue, count, walltime):
    if count < queue.get("min", 1) or (queue.get("max") and count > queue["max"]):
        return False
    if queue.get("allowed") and count not in queue["allowed"]:
        return False
    most = queue.get("max_walltime_s", 0)
    if most and walltime > most:
        return False
    return server.settings()["short"] or walltime >= queue.get("min_walltime_s", 0)
