import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.errors import RunError
from creditree.runs.metrics import Mark, MetricsLog, plain


def test_plain_turns_numpy_into_json_and_what_is_not_finite_into_null() -> None:
    record = {
        "a": np.float32(0.5),
        "b": np.array([1, 2]),
        "c": (1.0, math.nan),
        "d": {"e": -math.inf, 3: True},
        "f": np.bool_(True),
        "g": np.array([np.nan, 1.0]),
    }
    expected = {"a": 0.5, "b": [1, 2], "c": [1.0, None], "d": {"e": None, "3": True}, "f": True, "g": [None, 1.0]}
    assert plain(record) == expected
    with pytest.raises(TypeError, match="cannot be a set"):
        plain({"a": {1}})


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_records_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, losses: list[float]) -> None:
    log = MetricsLog(tmp_path_factory.mktemp("run") / "metrics.jsonl")
    for step, loss in enumerate(losses):
        log.append({"step": step, "loss": loss})
    assert [record["loss"] for record in log.records()] == losses


def test_append_needs_a_step(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'step', this one has None"):
        MetricsLog(tmp_path / "metrics.jsonl").append({"loss": 1.0})


def test_every_cut_of_the_last_line_is_read_and_truncated_the_same(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 2):
        log.append({"step": step, "text": "ünï\u2028code"})
    whole = log.path.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    for cut in range(len(first), len(whole)):
        log.path.write_bytes(whole[:cut])
        assert [record["step"] for record in log.records()] == [1]
        log.truncate_after(2)
        assert log.path.read_bytes() == first
    log.path.write_bytes(first + b"\0" * 40)
    log.truncate_after(2)
    assert log.path.read_bytes() == first


def test_truncating_drops_later_steps_and_keeps_the_bytes_of_others(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.truncate_after(0)
    assert not log.path.exists()
    lines = [b'{"step": 0}\n', b'{"step":1,   "loss": 1e-3}\n', b'{"step": 2}\n', b'{"step": 1, "validation": 1.0}\n']
    log.path.write_bytes(b"".join(lines))
    log.truncate_after(1)
    assert log.path.read_bytes() == lines[0] + lines[1] + lines[3]
    log.truncate_after(-1)
    assert log.path.read_bytes() == b""


def test_a_mark_stands_for_the_lines_up_to_its_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    marks = []
    for step in (1, 2, 3):
        log.append({"step": step})
        marks.append(log.mark(step))
    assert marks[1] == log.mark(2) == MetricsLog(log.path).mark(2) == Mark.of(b'{"step": 1}\n{"step": 2}\n')
    log.truncate_after(2)
    assert log.damage(marks[1]) == ""
    assert log.damage(marks[2]) == "holds 2 of the 3 lines that it had"
    log.append({"step": 3, "loss": 1.0})
    assert log.damage(marks[2]) == "has other lines than it had"
    log.path.unlink()
    assert MetricsLog(log.path).damage(marks[2]) == "holds 0 of the 3 lines that it had"


@pytest.mark.parametrize("line", ["{torn", "[1]", '{"loss": 1}', '{"step": "1"}', ""])
def test_a_foreign_line_in_the_middle_is_an_error(tmp_path: Path, line: str) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text(f"{json.dumps({'step': 1})}\n{line}\n{json.dumps({'step': 2})}\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl line 2 is not a metrics record"):
        log.records()
