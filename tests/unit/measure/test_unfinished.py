"""An evaluation without --out: what it sampled is there when it was stopped, and gone when it has ended."""

from pathlib import Path

import pytest

from creditree.measure import unfinished as module
from creditree.measure.unfinished import unfinished
from creditree.runs.attempts import Attempt

SETTINGS = "seed: 0\n"
ATTEMPT = Attempt("q", 0, 1.0, "ok", "1", 5, False, text="1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "creditree" / "evaluations"


def stopped() -> None:
    with unfinished(SETTINGS, [None]) as directory:
        assert directory is not None
        directory.parts("task", "greedy", "measured").add([ATTEMPT])
        raise KeyboardInterrupt


def kept(settings: str = SETTINGS, code: str | None = None) -> int:
    """How much is found; the block ends without an error."""
    with unfinished(settings, [code]) as directory:
        assert directory is not None
        return len(directory.parts("task", "greedy", "measured").read())


def test_what_was_stopped_goes_on_and_what_has_ended_is_gone(cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert kept() == 1
    assert kept() == 0
    assert list(cache.iterdir()) == []


def test_other_settings_judges_and_code_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert kept("seed: 1\n") == kept(code="abc") == 0
    monkeypatch.setattr(module, "describe_environment", lambda: {"commit": "another"})
    assert kept() == 0


def stopped_on(base: str) -> int:
    """How much of a base model is found, by a command that adds one more and is stopped."""
    found = -1
    try:
        with unfinished(SETTINGS, [None]) as directory:
            assert directory is not None
            directory.keep_base({"sha256": base})
            parts = directory.parts("task", "greedy", "measured")
            found = len(parts.read())
            parts.add([ATTEMPT])
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return found


def test_completions_of_other_weights_give_way() -> None:
    assert [stopped_on(base) for base in ("a", "a", "b", "b")] == [0, 1, 0, 1]


def test_where_it_cannot_be_held_nothing_is_kept(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder would be")
    with unfinished(SETTINGS, []) as directory:
        assert directory is None
    assert cache.is_file()
