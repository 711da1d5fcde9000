"""What the end of a run says of its files."""

from pathlib import Path

import pytest

from creditree.cli.train import _print_saved
from tests.stored_run import stored_run


@pytest.mark.parametrize("kept", [(), (20,)])
def test_only_what_is_there_is_named(kept: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_run(tmp_path / "run", kept=kept)
    _print_saved(run)
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Saved: "))
    places = {part.partition(" in ")[2].removesuffix(".") for part in said.removeprefix("Saved: ").split(", ")}
    assert {str(run / "summary.json"), str(run / "metrics.jsonl")} <= places
    assert all(Path(place).exists() for place in places)
    assert (str(run / "rollouts") in places) == bool(kept)
