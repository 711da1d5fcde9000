"""What went wrong in the first run on a GPU, as far as it can be held to without one."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchmarks import gpu_exactness, gpu_trl
from benchmarks.gpu_record import EAGER_STATUS, read, record_file, write
from benchmarks.gpu_steps import beside
from benchmarks.step import Bench
from creditree.train.settings import Parts


@pytest.mark.parametrize(("device", "counts"), [("cpu", True), ("cuda", False)])
def test_operations_are_counted_on_a_cpu_only(device: str, counts: bool) -> None:
    """A dispatch mode, which the counter is, makes compiled attention run uncompiled inside it, and fail."""
    seen: list[object] = []

    class Made(Bench):
        """A bench whose step only looks at its learner."""

        def step(self) -> None:
            learner: Any = self.parts.learner
            seen.append(learner.counter)

    made = Made.__new__(Made)
    made.options = Namespace(device=device)
    made.loop = cast(Any, Namespace(parts=Parts(*(cast(Any, None) for _ in range(6)))))
    found = made.counted_step()
    assert (seen[0] is not None) == (found["flops"] is not None) == counts


def exactness(monkeypatch: pytest.MonkeyPatch, out: Path, checks: dict[str, Any]) -> tuple[int, list[str]]:
    """Run the exactness script with checks of our own; return its exit status and which were made."""
    made: list[str] = []

    def of(name: str) -> Any:
        def check() -> dict[str, Any]:
            made.append(name)
            if isinstance(checks[name], BaseException):
                raise checks[name]
            return dict(checks[name])

        return check

    monkeypatch.setattr(gpu_exactness, "checks", lambda device: ((name, of(name)) for name in checks))
    monkeypatch.setattr(sys, "argv", ["gpu_exactness.py", "--device", "cpu", "--out", str(out)])
    with pytest.raises((SystemExit, KeyboardInterrupt)) as stopped:
        gpu_exactness.main()
    code = getattr(stopped.value, "code", -1)
    return int(code or 0), made


def test_exactness_keeps_what_was_finished_and_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = {"ok": True}
    status, made = exactness(monkeypatch, tmp_path, {"a": fine, "b": ValueError("no"), "c": KeyboardInterrupt()})
    assert (status, made) == (-1, ["a", "b", "c"])
    kept = read(record_file("cpu", tmp_path))["exactness"]
    assert kept["checks"]["a"]["ok"]
    assert kept["checks"]["b"]["error"] == "ValueError: no"
    assert not kept["complete"]
    status, made = exactness(monkeypatch, tmp_path, {"a": fine, "b": fine, "c": fine})
    assert (status, made) == (0, ["b", "c"])
    status, made = exactness(monkeypatch, tmp_path, {"a": fine | {"eager": 3}, "b": {"ok": False}})
    assert (status, made) == (EAGER_STATUS, ["a", "b"])  # whole before, so everything is made again


def test_angles_for_comparisons_in_float64_are_float64() -> None:
    """transformers' cosines are float32: their last digit differs between devices, and looked like an error of ours."""
    plain = SimpleNamespace(inv_freq=torch.tensor([0.1], dtype=torch.float32))
    cos, sin = gpu_exactness.ExactAngles(plain)(torch.zeros(1, dtype=torch.float64), torch.tensor([[7]]))
    angle = 7 * torch.tensor(0.1, dtype=torch.float32).double()
    assert cos.dtype == sin.dtype == torch.float64
    assert cos.flatten().tolist() == [angle.cos().item()] * 2
    assert sin.flatten().tolist() == [angle.sin().item()] * 2


def test_without_trl_its_seconds_are_null_and_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "trl" else object())
    monkeypatch.setattr(sys, "argv", ["gpu_trl.py", "--device", "cpu", "--out", str(tmp_path)])
    gpu_trl.main()
    found = read(record_file("cpu", tmp_path))["trl"]
    assert found["step"] is None
    assert found["why"].startswith("trl cannot be imported")


def test_our_step_is_shown_beside_trls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("trl", {"step": {"wall_s": {"step": 12.0}}}, "cpu", tmp_path, quiet=True)
    assert beside("cpu", tmp_path) == {}
    write("grpo", {"step": {"wall_s": {"step": 2.0}}}, "cpu", tmp_path, quiet=True)
    assert beside("cpu", tmp_path) == {"grpo": 6.0}
    assert "6.0 times as fast" in capsys.readouterr().err
