from dataclasses import replace
from pathlib import Path

import pytest

from creditree.errors import RunError
from creditree.runs.attempts import Attempt, AttemptParts, read_parts
from creditree.runs.environment import content_digest
from creditree.runs.evaluation import EvaluationDirectory, ProblemResult, is_evaluation
from creditree.runs.held import HeldDirectory
from creditree.runs.lock import RunLock

ONE = Attempt("p", 0, 1.0, "ok", "5", 12, truncated=False, text="it is 5")
TWO = Attempt("p", 1, None, "crash", None, 20, truncated=True, detail="why", text="...")
ROW: dict[str, object] = {
    "task": "t", "decoding": "greedy", "side": "measured", "problem_id": "p", "digest": "d", "completions": 2,
    "correct": 1, "unjudged": 1, "truncated": 1, "tokens": 32, "majority": "5",
}  # fmt: skip


def test_parts_are_read_as_they_were_written(tmp_path: Path) -> None:
    held = HeldDirectory(tmp_path, RunLock(tmp_path))
    parts = AttemptParts(held, "a/b")
    parts.add([ONE])
    parts.add([TWO])
    assert AttemptParts(held, "a/b").read() == [replace(one, text="") for one in (ONE, TWO)]
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["part-000001.parquet", "part-000002.parquet"]
    assert read_parts(HeldDirectory(tmp_path, None), "a/b") == [ONE, TWO]


def test_a_part_that_was_removed_does_not_let_another_one_be_overwritten(tmp_path: Path) -> None:
    parts = AttemptParts(HeldDirectory(tmp_path, RunLock(tmp_path)), "a")
    parts.add([ONE])
    parts.add([TWO])
    (tmp_path / "a" / "part-000001.parquet").unlink()
    parts.add([ONE])
    assert parts.read() == [replace(one, text="") for one in (TWO, ONE)]


def test_what_a_killed_writer_left_is_removed_and_a_damaged_part_is_named(tmp_path: Path) -> None:
    held = HeldDirectory(tmp_path, RunLock(tmp_path))
    AttemptParts(held, "a").add([ONE])
    (tmp_path / "a" / ".partial-part-000002.parquet").write_bytes(b"torn")
    assert len(AttemptParts(held, "a").read()) == 1
    assert not (tmp_path / "a" / ".partial-part-000002.parquet").exists()
    (tmp_path / "a" / "part-000001.parquet").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"part-000001\.parquet.*remove it, and run the same command again") as raised:
        AttemptParts(held, "a").read()
    assert "\n" not in str(raised.value)


def test_an_evaluation_goes_on_under_equal_settings_only(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with EvaluationDirectory.open(path, "{seed: 0, samples: 4}") as directory:
        directory.parts("t", "greedy", "measured").add([ONE])
        with pytest.raises(RunError, match="has not ended"):
            EvaluationDirectory.read(path)
    with EvaluationDirectory.open(path, "samples: 4\nseed: 0") as directory:
        assert len(directory.parts("t", "greedy", "measured").read()) == 1
        directory.finish([ROW], {"n": 1})
    with pytest.raises(RunError, match="samples is 4 in the evaluation and 8 now"):
        EvaluationDirectory.open(path, "{seed: 0, samples: 8}")
    read = EvaluationDirectory.read(path)
    assert is_evaluation(path)
    assert (read.problems(), read.result()) == ([ProblemResult("t", "greedy", "measured", "p", "d", 2, 1, 1)], {"n": 1})
    (path / "result.json").write_text("[]")
    with pytest.raises(RunError, match="has another content than when it was written"):
        read.result()


def test_other_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0")
    with pytest.raises(RunError, match="holds a training run"):
        EvaluationDirectory.open(tmp_path / "run", "seed: 0")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file; choose another directory"):
        EvaluationDirectory.open(tmp_path / "file", "seed: 0")
    (tmp_path / "half" / "completions").mkdir(parents=True)
    with pytest.raises(RunError, match=r"holds completions but no evaluation\.yaml"):
        EvaluationDirectory.open(tmp_path / "half", "seed: 0")
    with pytest.raises(RunError, match="There is no evaluation in"):
        EvaluationDirectory.read(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "problems.parquet", "base.json", "code.json"])
def test_somebody_s_file_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=rf"holds {name} but no evaluation\.yaml, and it would be written over; move"):
        EvaluationDirectory.open(tmp_path, "seed: 0")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_content_of_weights_is_told_apart_by_both_ends(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    digests = set()
    for change in (None, 0, 2**20 - 1, 3 * 2**20 - 1):
        data = bytearray(3 * 2**20)
        if change is not None:
            data[change] = 1
        file.write_bytes(data)
        digests.add(content_digest(tmp_path))
    assert len(digests) == 4
    before = content_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("not looked at")
    assert content_digest(tmp_path) == before
    (tmp_path / "config.json").write_text("{}")
    assert content_digest(tmp_path) != before
    (tmp_path / "base.json").mkdir()
    with pytest.raises(RunError, match=r"^Cannot read .*base\.json: Is a directory; restore it"):
        content_digest(tmp_path)
