"""The page of a run in training: seldom enough, and never a reason to lose the run."""

from dataclasses import replace
from pathlib import Path

import pytest

from creditree.runs.directory import RunDirectory
from creditree.train import page as module
from creditree.train.page import PageWriter
from tests.training import SETTINGS, trainer_of

CONFIG = "method: {name: grpo}\ntask: {name: sums}\n"


def test_what_is_written_takes_a_fiftieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    written: list[float] = []

    def html(overview: object) -> str:
        nonlocal now
        now += 2.0
        written.append(now)
        return "page"

    monkeypatch.setattr(module, "report_html", html)
    with RunDirectory.create(tmp_path, CONFIG) as run:
        page = PageWriter(run, lambda text: None, lambda: now)
        for _ in range(290):
            page.refresh()
            now += 1.0
    # 2 s each: written at 0, and then not before 2 / 0.02 = 100 s have passed since it was begun.
    assert written == [2.0, 102.0, 202.0]
    assert (tmp_path / "report.html").read_text() == "page"


def test_whatever_goes_wrong_the_run_goes_on_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(overview: object) -> str:
        raise ZeroDivisionError("no\nluck")

    monkeypatch.setattr(module, "report_html", fails)
    said: list[str] = []
    with RunDirectory.create(tmp_path, CONFIG) as run:
        page = PageWriter(run, said.append)
        page.write()
        page.write()
    assert said == ["report.html could not be written (no luck); the run goes on."]


def test_checkpoints_refresh_the_page_and_trees_keep_the_text_of_each_token(tmp_path: Path) -> None:
    trainer, notes = trainer_of(tmp_path, replace(SETTINGS, steps=2, checkpoint_every=1, rollouts_every=1))
    trainer.train()
    assert not any("report.html" in message for message in notes.messages)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not ended: step 1" in text
    row = trainer.run.rollouts(1)[0]
    pieces, ids = row["pieces"], row["token_ids"]
    assert pieces == trainer.parts.model.texts.by_token(ids)  # type: ignore[arg-type]
    assert trainer.run.metrics()[0]["surprisal"] > 0  # type: ignore[operator]
    assert trainer.run.metrics()[0]["memory_peak"]["host"] > 1e7  # type: ignore[index]
