"""Runs one job of the stub server, as OpenPBS's server, scheduler and MOM do together:
   mom.py ID
Waits for what the job depends on, for its hosts and, of an array, for its turn; runs the script as
the leader of a session of its own; ends it at the walltime or where another command asks for it
(the file `request` in the job's folder): SIGTERM to every process of every session of the job, and
SIGKILL after kill_delay. A job that is to run again begins at its script's top."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import server

TICK_S = 0.05


def processes():
    """{pid: (parent, session)} of the machine, zombies left out."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry)] = int(fields[1]), int(fields[3])
    return found


def tasks(sessions):
    """The processes of these sessions and all below them."""
    all_of_them = processes()
    ours = {pid for pid, (_, session) in all_of_them.items() if session in sessions}
    while True:
        below = {pid for pid, (parent, _) in all_of_them.items() if parent in ours} - ours
        if not below:
            return ours
        ours |= below


class Mom:
    def __init__(self, job_id):
        self.job = server.job(job_id)
        self.id = self.job["id"]
        self.folder = server.folder(self.id)
        self.settings = server.settings()
        self.array = self.id.split("[")[0] + "[]" if self.job["index"] is not None else None

    def request(self):
        """What another command asked for, once: {what, …}."""
        path = self.folder / "request"
        if not path.exists():
            return None
        asked = json.loads(path.read_text())
        path.unlink()
        return asked

    def finish(self, status, comment=""):
        with server.locked():
            server.change(self.id, state="F", exit_status=status, ended=time.time(),
                          comment=comment)
            if self.array:
                ends = [server.state(one) for one in server.subjobs(self.array)]
                if all(end["state"] == "F" for end in ends):
                    failed = [end["exit_status"] for end in ends if end["exit_status"] != 0]
                    server.change(self.array, state="F", exit_status=1 if failed else 0, runs=1)
        sys.exit(0)

    def wait_for_others(self):
        """`-W depend`: a job whose condition can no longer come true is deleted."""
        for kind, ids in self.job["depend"]:
            for other in ids:
                while True:
                    self.deleted_in_queue()
                    state = server.state(other)
                    if kind == "after" and state["runs"]:
                        break
                    if state["state"] == "F":
                        good = {"after": state["runs"] > 0, "afterany": state["runs"] > 0,
                                "afterok": state["exit_status"] == 0,
                                "afternotok": state["exit_status"] != 0 and state["runs"] > 0}
                        if not good[kind]:
                            self.finish(None, f"Job deleted as result of dependency on job {other}")
                        break
                    time.sleep(TICK_S)

    def deleted_in_queue(self):
        asked = self.request()
        if asked and asked["what"] == "delete":
            self.finish(None, "deleted before it began")

    def wait_for_hosts(self):
        """Fills self.hosts, one for each chunk: a queue of nodes gives each chunk its own, a queue
        of GPUs gives all chunks of a job the same one."""
        count = sum(number for number, _ in self.job["chunks"])
        needed = 1 if self.job["unit"] == "gpu" else count
        while True:
            self.deleted_in_queue()
            if server.state(self.id)["fate"] != "waits" and needed <= len(self.settings["hosts"]):
                with server.locked():
                    if self.is_turn():
                        taken = server.root() / "taken.json"
                        used = json.loads(taken.read_text()) if taken.exists() else {}
                        free = [host for host in self.settings["hosts"] if host not in used]
                        if len(free) >= needed:
                            self.hosts = (free[:needed] * count)[:count]
                            server.write(taken, used | {host: self.id for host in self.hosts})
                            server.change(self.id, state="R", started=time.time(),
                                          runs=server.state(self.id)["runs"] + 1,
                                          hosts=sorted(set(self.hosts)))
                            if self.array:
                                server.change(self.array, state="B", runs=1)
                            return
            time.sleep(TICK_S)

    def is_turn(self):
        """Subjobs begin in order, at most `%n` at once."""
        if not self.array:
            return True
        states = {one: server.state(one) for one in server.subjobs(self.array)}
        before = list(states)[:list(states).index(self.id)]
        if any(states[one]["runs"] == 0 and states[one]["state"] != "F" for one in before):
            return False
        at_once = self.job["array"][3]
        running = sum(state["state"] in "RE" for state in states.values())
        return not at_once or running < at_once

    def give_hosts_back(self):
        with server.locked():
            taken = server.root() / "taken.json"
            used = json.loads(taken.read_text())
            server.write(taken, {host: one for host, one in used.items() if one != self.id})

    def environment(self):
        nodefile = server.root() / "aux" / self.id
        nodefile.parent.mkdir(exist_ok=True)
        lines, hosts = [], iter(self.hosts)
        cpus = 1
        for count, pairs in self.job["chunks"]:
            cpus = int(pairs.get("ncpus", cpus))
            for _ in range(count):  # one line for each MPI process of the chunk
                lines += [next(hosts)] * int(pairs.get("mpiprocs", 1))
        nodefile.write_text("".join(f"{line}\n" for line in lines))
        scratch = server.root() / "tmp" / f"pbs.{self.id}"
        scratch.mkdir(parents=True, exist_ok=True)
        env = dict(self.job["variables"])
        env |= {"PBS_JOBID": self.id, "PBS_JOBNAME": self.job["name"],
                "PBS_QUEUE": self.job["queue"], "PBS_ACCOUNT": self.job["account"],
                "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_NODEFILE": str(nodefile),
                "PBS_NODENUM": "0", "PBS_TASKNUM": "1", "PBS_MOMPORT": "15003",
                "PBS_JOBDIR": env["PBS_O_HOME"], "TMPDIR": str(scratch), "NCPUS": str(cpus),
                "OMP_NUM_THREADS": str(cpus), "HOME": str(server.root() / "home"),
                "USER": env["PBS_O_LOGNAME"], "LOGNAME": env["PBS_O_LOGNAME"],
                "SHELL": "/bin/bash", "PATH": "/usr/bin:/bin", "PBS_STUB": str(server.root())}
        if self.array:
            env |= {"PBS_ARRAY_INDEX": str(self.job["index"]),
                    "PBS_ARRAY_ID": f"{self.array}.{server.NAME}"}
        return env

    def start(self):
        """The script, by a login shell's environment, on the job's first host."""
        command = ["bash", "-l", "-c", 'cd "$HOME" && exec "$0"', self.job["script"]]
        if self.settings["network"]:
            holder = (server.root() / "hosts" / self.hosts[0]).read_text().strip()
            command = ["nsenter", "-t", holder, "-n", "-u", "-m", "-i", *command]
        (self.folder / "sessions").write_text("")
        with open(self.job["o"], "ab") as out, open(self.job["e"], "ab") as err:
            self.script = subprocess.Popen(command, env=self.environment(), stdout=out, stderr=err,
                                           stdin=subprocess.DEVNULL, start_new_session=True)

    def sessions(self):
        """The script's, and those that a launcher began on the other hosts for it."""
        others = (self.folder / "sessions").read_text().split()
        return {self.script.pid, *map(int, others)}

    def signal_all(self, number):
        for pid in tasks(self.sessions()):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def end(self, kill_delay):
        """SIGTERM, and SIGKILL to what is still there after kill_delay seconds."""
        with server.locked():
            server.change(self.id, state="E")
        if kill_delay:
            self.signal_all(signal.SIGTERM)
        until = time.time() + kill_delay
        while time.time() < until and tasks(self.sessions()):
            self.script.poll()
            time.sleep(TICK_S)
        while tasks(self.sessions()):
            self.signal_all(signal.SIGKILL)
            self.script.poll()
            time.sleep(TICK_S)

    def run(self):
        """Runs the script once: its exit status, or None where it is to run again."""
        self.start()
        begun = time.time()
        while True:
            code = self.script.poll()
            if code is not None:
                self.end(0)  # what it left running
                return code if code >= 0 else 256 - code
            ran = time.time() - begun
            if self.job["walltime"] and ran > self.job["walltime"]:
                with open(self.job["e"], "a", encoding="utf-8") as err:
                    err.write(f"=>> PBS: job killed: walltime {int(ran) + 1} exceeded limit "
                              f"{self.job['walltime']}\n")
                self.end(self.settings["kill_delay"])
                return server.JOB_EXEC_KILL_WALLTIME
            asked = self.request()
            if asked and asked["what"] == "signal":
                self.signal_all(signal.Signals[asked["signal"]])
            elif asked:
                self.end(asked.get("kill_delay", self.settings["kill_delay"]))
                if asked["what"] == "rerun":
                    return None
                return 256 + signal.SIGTERM
            time.sleep(TICK_S)


def main():
    mom = Mom(sys.argv[1])
    os.chdir("/")
    if os.getuid() == 0:  # a node is its job's own; whatever else runs here gives way
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    mom.wait_for_others()
    with server.locked():
        server.change(mom.id, state="Q")
    while True:
        mom.wait_for_hosts()
        status = mom.run()
        shutil.rmtree(pathlib.Path(server.root() / "tmp" / f"pbs.{mom.id}"), ignore_errors=True)
        mom.give_hosts_back()
        if status is not None:
            mom.finish(status)
        with server.locked():
            server.change(mom.id, state="Q")


main()
