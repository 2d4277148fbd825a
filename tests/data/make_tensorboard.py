"""Golden event files: what TensorBoard's own writers make of the events that Weft writes.

  python3 -m venv V && V/bin/pip install tensorboard && V/bin/python make_tensorboard.py
writes tensorboard.json beside this file (made with tensorboard 2.21.0, protobuf 7.36.2).
"""
import io
import json
import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def record(event):
    out = io.BytesIO()
    RecordWriter(out).write(event.SerializeToString())
    return out.getvalue().hex()


def scalars(time_s, step, values):
    items = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in values.items()]
    return event_pb2.Event(wall_time=time_s, step=step, summary=summary_pb2.Summary(value=items))


start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
long_tag = "x" * 200  # its length takes two bytes
goldens = {
    "version": record(event_pb2.Event(wall_time=1764444600.25, file_version="brain.Event:2")),
    "start_1": record(event_pb2.Event(wall_time=1764444600.5, step=1, session_log=start)),
    "start_300": record(event_pb2.Event(wall_time=1764444600.5, step=300, session_log=start)),
    "scalars": record(
        scalars(1764444601.125, 70000, {"loss": 2.3, "lr": 0.0, "shares/comm": 0.125})),
    "extremes": record(scalars(0.5, 2**40, {long_tag: -1e300, "nan": float("nan"), "inf": 1e300})),
    "none": record(scalars(1.0, 1, {})),
}
place = pathlib.Path(__file__).parent / "tensorboard.json"
place.write_text(json.dumps(goldens, indent=1) + "\n")
