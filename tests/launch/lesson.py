#!/usr/bin/env python3
"""Runs the commands of the lesson's pages and compares what they print with what the pages show.

  tests/launch/lesson.py [options] [PAGE…]     PAGE: 03, a file, or `all`
  --weft FILE      the program                                         build/weft
  --models FOLDER  where launch/lesson/models.sh puts the models, or has put them; else a new folder
  --folder FOLDER  run in this new folder and keep it
  --without NAME   leave out pages that need NAME (SmolLM2), where it cannot be had
  --write          put the real output where it differs into the pages

A page's commands run in order, in one folder for all pages: blocks that begin with ```console hold
lines `$ command` (`> ` continues one, as bash prints it), each with the output below it, stdout and
stderr as a terminal shows them. Words behind `console`:
  tol=X     a number agrees that differs by at most X times the larger of itself and 1
  like      only the form is compared: JSON lines by keys and kinds of values, other lines by their
            columns (two spaces, a tab or | between), each a number or not
  exit=N    the commands' exit code
`…` alone in a line stands for any lines, within a line for any text. A page's first comment says
what it needs: <!-- needs: nothing -->, model, SmolLM2.
Exit code 1: a page differs; 2: a mistake in a page or in these arguments.
"""
import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LESSON = os.path.join(ROOT, "launch", "lesson")
NEEDS = {"nothing": [], "model": ["models"], "SmolLM2": ["models", "smollm2"]}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
COLUMNS = re.compile(r"\s{2,}|\t|\s*\|\s*")
LIMIT_S = 600  # of a command


def stop(message):
    print(f"lesson.py: {message}", file=sys.stderr)
    raise SystemExit(2)


# ------------------------------------------------------------------------------------- comparison


def exact(shown, printed, options):
    parts = [re.escape(part) for part in shown.split("…")]
    return re.fullmatch(".*".join(parts), printed) is not None


def near(shown, printed, options):
    """Text is equal but for the width of its gaps, numbers but for the tolerance."""
    pattern, numbers = "", []
    for i, part in enumerate(shown.split()):
        pattern += r"\s+" if i else ""
        for j, piece in enumerate(part.split("…")):
            pattern += ".*" if j else ""
            at = 0
            for number in NUMBER.finditer(piece):
                pattern += re.escape(piece[at:number.start()]) + f"({NUMBER.pattern})"
                numbers.append(float(number.group()))
                at = number.end()
            pattern += re.escape(piece[at:])
    match = re.fullmatch(pattern, printed.strip())
    return match is not None and all(
        abs(float(real) - number) <= options["tol"] * max(abs(number), 1)
        for real, number in zip(match.groups(), numbers))


def kind(value):
    if isinstance(value, dict):
        return {key: kind(each) for key, each in value.items()}
    if isinstance(value, list):
        return [kind(each) for each in value[:1]]
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def form(line):
    if line.startswith("{"):
        try:
            return json.dumps(kind(json.loads(line)))
        except ValueError:
            pass
    return [bool(NUMBER.fullmatch(column)) for column in COLUMNS.split(line.strip())]


def alike(shown, printed, options):
    return exact(shown, printed, options) if "…" in shown else form(shown) == form(printed)


def agrees(shown, printed, options):
    """Whether the lines that a page shows stand for those that were printed."""
    line_agrees = alike if "like" in options else near if "tol" in options else exact
    # possible[j]: the lines of `shown` so far stand for the first j printed ones.
    possible = [True] + [False] * len(printed)
    for line in shown:
        if line.strip() == "…":
            first = possible.index(True) if True in possible else len(possible)
            possible = [j >= first for j in range(len(possible))]
        else:
            possible = [False] + [
                possible[j] and line_agrees(line, printed[j], options)
                for j in range(len(printed))
            ]
    return possible[-1]


# ------------------------------------------------------------------------------------------ pages


class Page:
    """A page's lines, and its commands: (first line of output, end of it, command, options)."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.relpath(path)
        with open(path, encoding="utf-8") as f:
            self.lines = f.read().split("\n")
        needs = re.match(r"<!-- needs: (\w+) -->$", self.lines[0])
        if not needs or needs.group(1) not in NEEDS:
            stop(f"{self.name}:1: a page begins with <!-- needs: X -->, X one of {list(NEEDS)}")
        self.needs = needs.group(1)
        self.commands = []
        at = 0
        while at < len(self.lines):
            if self.lines[at].startswith("```"):
                end = self.lines.index("```", at + 1)
                words = self.lines[at][3:].split()
                if words[:1] == ["console"]:
                    self.read_block(at + 1, end, self.options(at, words[1:]))
                at = end
            at += 1
        if not self.commands:
            stop(f"{self.name} has no command")

    def options(self, at, words):
        options = {"exit": 0}
        for word in words:
            match = re.fullmatch(r"like|(tol)=([\d.e-]+)|(exit)=(\d+)", word)
            if not match:
                stop(f"{self.name}:{at + 1}: '{word}'; allowed: like, tol=X, exit=N")
            if match.group(1):
                options["tol"] = float(match.group(2))
            elif match.group(3):
                options["exit"] = int(match.group(4))
            else:
                options["like"] = True
        return options

    def read_block(self, begin, end, options):
        if not self.lines[begin].startswith("$ "):
            stop(f"{self.name}:{begin + 1}: a console block begins with '$ command'")
        at = begin
        while at < end:
            command = [self.lines[at][2:]]
            at += 1
            while at < end and self.lines[at].startswith("> "):
                command.append(self.lines[at][2:])
                at += 1
            first = at
            while at < end and not self.lines[at].startswith("$ "):
                at += 1
            self.commands.append((first, at, "\n".join(command), options))

    def run(self, folder, environment, write):
        """How many commands differ; with write they are put right in the page."""
        begun = time.monotonic()
        wrong, edits = 0, []
        for first, last, command, options in self.commands:
            try:
                done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
            except subprocess.TimeoutExpired:
                print(f"{self.name}:{first}: longer than {LIMIT_S} s: {command}")
                return wrong + 1
            printed = [line.rstrip() for line in done.stdout.decode("utf-8").splitlines()]
            shown = [line.rstrip() for line in self.lines[first:last]]
            while printed and not printed[-1]:
                printed.pop()
            while shown and not shown[-1]:
                shown.pop()
            if done.returncode != options["exit"]:
                print(f"{self.name}:{first}: exit code {done.returncode}: {command}")
                print("\n".join("    " + line for line in printed))
                wrong += 1
            elif not agrees(shown, printed, options):
                print(f"{self.name}:{first}: {'written' if write else 'differs'}: {command}")
                for line in difflib.unified_diff(shown, printed, "the page", "printed", "", "", 1,
                                                 ""):
                    print("    " + line)
                if write:
                    edits.append((first, last, printed))
                else:
                    wrong += 1
        for first, last, printed in reversed(edits):
            self.lines[first:last] = printed
        if edits:
            with open(self.path, "w", encoding="utf-8") as f:
                f.write("\n".join(self.lines))
        print(f"{self.name}: {len(self.commands)} commands, {time.monotonic() - begun:.0f} s",
              flush=True)
        return wrong


def find_pages(names):
    pages = []
    every = sorted(name for name in os.listdir(LESSON) if re.match(r"\d\d-.*\.md$", name))
    for name in names:
        if name.endswith(".md"):
            found = [name]
        else:
            found = [
                os.path.join(LESSON, page) for page in every
                if name == "all" or page.startswith(name + "-")
            ]
        if not found:
            stop(f"there is no page '{name}'; {LESSON} has {' '.join(every)}")
        pages += [Page(path) for path in found]
    return pages


def main():
    arguments = argparse.ArgumentParser(description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pages", nargs="*", default=["all"])
    arguments.add_argument("--weft", default=os.path.join(ROOT, "build", "weft"))
    arguments.add_argument("--models")
    arguments.add_argument("--folder")
    arguments.add_argument("--without", action="append", default=[])
    arguments.add_argument("--write", action="store_true")
    arguments = arguments.parse_args()
    weft = os.path.realpath(arguments.weft)
    if not os.access(weft, os.X_OK):
        stop(f"{weft} is not there: build it, or --weft names another")
    pages = find_pages(arguments.pages)
    environment = dict(os.environ, WEFT=weft, LC_ALL="C.UTF-8",
                       PATH=os.path.dirname(weft) + os.pathsep + os.environ["PATH"])

    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.realpath(arguments.folder or os.path.join(scratch, "lesson"))
        models = os.path.realpath(arguments.models or os.path.join(scratch, "models"))
        if os.path.exists(folder):
            stop(f"{folder} is there; --folder names a new one")
        os.makedirs(folder)
        os.symlink(os.path.join(ROOT, "launch"), os.path.join(folder, "launch"))
        left_out = [page for page in pages if page.needs in arguments.without]
        pages = [page for page in pages if page not in left_out]
        parts = {part for page in pages for part in NEEDS[page.needs]}
        if parts:
            os.makedirs(models, exist_ok=True)
            script = [os.path.join(LESSON, "models.sh")]
            script += ["smollm2"] if "smollm2" in parts else []
            if subprocess.run(script, cwd=models, env=environment, check=False).returncode:
                print("launch/lesson/models.sh failed")
                return 1
            for name in os.listdir(models):
                if not os.path.exists(os.path.join(folder, name)):
                    os.symlink(os.path.join(models, name), os.path.join(folder, name))
        wrong = sum(page.run(folder, environment, arguments.write) for page in pages)
        for page in left_out:
            print(f"{page.name}: left out, as it needs {page.needs}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
