"""Mirrors: TensorBoard for real; wandb and trackio through a fake package with their three functions."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from creditree.errors import ConfigError
from creditree.report.mirrors import mirrored, numbers_of, open_mirrors
from creditree.report.watcher import Watcher

RECORD: dict[str, Any] = {"step": 3, "loss": 0.5, "validation_accuracy": None, "seconds_by_phase": {"sample": 2.0}}


class Quiet(Watcher):
    """A watcher that remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def update(self, record: object) -> None:
        self.seen.append(record)

    def message(self, text: str) -> None:
        self.seen.append(text)


class FakeService(ModuleType):
    """A package with wandb's interface that remembers the calls."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[Any, ...]] = []

    def init(self, **arguments: Any) -> None:
        self.calls.append(("init", arguments))

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.calls.append(("log", numbers, step))

    def finish(self) -> None:
        self.calls.append(("finish",))


def test_numbers_are_flat_and_leave_out_what_is_missing() -> None:
    assert numbers_of(RECORD) == {"loss": 0.5, "seconds_by_phase/sample": 2.0}


def test_tensorboard_files_hold_the_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watcher = Quiet()
    with mirrored(watcher, open_mirrors(["tensorboard"], tmp_path, {}, watcher.message)) as both:
        both.update(RECORD)
        both.message("hello")
    assert watcher.seen == [RECORD, "hello"]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]


def test_a_service_gets_init_log_and_finish_even_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService()
    monkeypatch.setitem(sys.modules, "wandb", service)
    mirrors = open_mirrors(["wandb"], tmp_path / "run", {"seed": 1}, print)

    def fail() -> None:
        with mirrored(Quiet(), mirrors) as both:
            both.update(RECORD)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert service.calls == [
        ("init", {"project": "creditree", "name": "run", "config": {"seed": 1}}),
        ("log", {"loss": 0.5, "seconds_by_phase/sample": 2.0}, 3),
        ("finish",),
    ]


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ConfigError, match=r"log.mirrors names trackio.*pip install 'creditree\[trackio\]'"):
        open_mirrors(["trackio"], tmp_path, {}, print)


@pytest.mark.parametrize(
    ("failing", "words"),
    [("init", "could not be opened (no key)"), ("log", "failed (no key)"), ("finish", "could not be closed (no key)")],
)
def test_a_service_that_fails_is_told_of_and_stops_nothing(
    failing: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise RuntimeError("no key")

    service = FakeService()
    monkeypatch.setattr(service, failing, fail)
    monkeypatch.setitem(sys.modules, "wandb", service)
    watcher = Quiet()
    with mirrored(watcher, open_mirrors(["wandb"], tmp_path / "run", {}, watcher.message)) as both:
        both.update(RECORD)
        both.update(RECORD)
    said = [one for one in watcher.seen if isinstance(one, str)]
    assert len(said) == 1
    assert words in said[0]
    assert watcher.seen.count(RECORD) == 2
