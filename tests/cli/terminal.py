# Talks to a command in a terminal: terminal.py STEP… -- COMMAND…
# Rank 0's stdin is a pseudo-terminal, stdout and stderr are the files out and err. Steps: say:TEXT
# writes a line, prompts:N waits until N prompts were shown, err:TEXT until stderr holds it, more
# until stdout has grown since the last line, int sends SIGINT to rank 0, end closes the terminal.
# The exit code is the command's.
import os, pty, signal, subprocess, sys, termios, time

split = sys.argv.index("--")
steps, command = sys.argv[1:split], sys.argv[split + 1 :]
master, slave = pty.openpty()
modes = termios.tcgetattr(slave)
modes[3] &= ~termios.ECHO  # nobody reads it
termios.tcsetattr(slave, termios.TCSANOW, modes)
wrapper = """
if [ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}" = 0 ]; then
  echo $$ >pid.new && mv pid.new pid
  exec "$@" <"$TERMINAL"
fi
exec "$@" </dev/null
"""
at = command.index(os.environ["WEFT"])
command[at:at] = ["sh", "-c", wrapper, "sh"]
if os.path.exists("pid"):
    os.remove("pid")
process = subprocess.Popen(
    command, stdin=subprocess.DEVNULL, stdout=open("out", "wb"), stderr=open("err", "wb"),
    env=dict(os.environ, TERMINAL=os.ttyname(slave)),
)


def holds(name):
    with open(name, "rb") as file:
        return file.read()


def wait(what, test):
    end = time.monotonic() + 60
    while not test():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            sys.exit(f"no {what}: out {holds('out')!r}, err {holds('err')!r}, {process.poll()}")
        time.sleep(0.002)


for step in steps:
    kind, _, text = step.partition(":")
    if kind == "say":
        size = len(holds("out"))
        os.write(master, text.encode() + b"\n")
    elif kind == "prompts":
        wait(step, lambda: holds("err").count(b"> ") >= int(text))
    elif kind == "err":
        wait(step, lambda: text.encode() in holds("err"))
    elif kind == "more":
        wait(step, lambda: len(holds("out")) > size)
    elif kind == "int":
        os.kill(int(holds("pid")), signal.SIGINT)
    elif kind == "end":
        os.write(master, b"\x04")
    else:
        sys.exit(f"no step {step}")
try:
    sys.exit(process.wait(60))
except subprocess.TimeoutExpired:
    process.kill()
    sys.exit(f"hung: out {holds('out')!r}, err {holds('err')!r}")
