"""Whether the real TensorBoard reads a run's scalars as its run log has them.

  python3 -m venv V && V/bin/pip install tensorboard
  V/bin/python tests/launch/check_tensorboard.py RUN
RUN: the --out of weft train --metrics tensorboard, resumed or not. Not a part of launch/test.sh:
TensorBoard is no dependency of Weft.
"""
import json
import pathlib
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


COUNTS = ("step", "tokens", "samples", "elapsed_s")  # no scalars of their own


def scalars_of(line):
    """(tag, value) of a line of run.jsonl."""
    before = "eval/" if line["event"] == "eval" else ""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from ((f"{before}{name}/{key}", inner) for key, inner in value.items())
        elif isinstance(value, (int, float)) and name not in COUNTS:
            yield before + name, value


def expected(run):
    """Values by tag and step; where a step stands twice the last line counts, and what lies behind
    a start's step is forgotten."""
    values = {}
    for line in map(json.loads, (run / "run.jsonl").open()):
        if line["event"] == "start":
            for steps in values.values():
                for step in [s for s in steps if s > line["step"]]:
                    del steps[step]
        if line["event"] in ("step", "eval"):
            for tag, value in scalars_of(line):
                values.setdefault(tag, {})[line["step"]] = value
    return values


def main(run):
    reader = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    values = expected(run)
    tags = set(reader.Tags()["scalars"])
    assert tags == set(values), f"other tags: {tags ^ set(values)}"
    n = 0
    for tag, steps in values.items():
        read = {event.step: event.value for event in reader.Scalars(tag)}
        assert len(read) == len(reader.Scalars(tag)), f"{tag}: a step stands twice"
        assert sorted(read) == sorted(steps), f"{tag}: steps {sorted(read)}, not {sorted(steps)}"
        for step, value in steps.items():
            same = numpy.float32(value) == numpy.float32(read[step])
            assert same, f"{tag}, step {step}: {read[step]}, not {value}"
            n += 1
    assert n > 0
    print(f"TensorBoard reads {n} scalars of {len(tags)} tags as {run / 'run.jsonl'} has them")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
