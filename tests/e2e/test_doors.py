"""Three doors, one meaning: a run that was begun from Python goes on from the command line, and the other way round."""

import json
from pathlib import Path

import pytest

import creditree as ct
from creditree.cli.main import app
from creditree.config.method import MethodConfig
from creditree.tasks import table
from creditree.tasks.rows import Row, read_rows
from tests.e2e.command import SMALL, write_config

BLOCKS = SMALL | {
    "train": SMALL["train"] | {"steps": 2},
    "evaluation": {"problems": 6, "temperatures": [0]},
    "sampling": {"temperature": 0.7, "max_new_tokens": 12},
}
QUIET = ct.Watcher()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ct.Run, Path]:
    """Return a run that was made from Python, and a configuration in a file that asks for the same."""
    folder = tmp_path_factory.mktemp("doors")
    config = write_config(folder / "run.yaml", **BLOCKS)
    return ct.train(BLOCKS, folder / "a", watcher=QUIET), config


def test_the_five_lines(made: tuple[ct.Run, Path], tmp_path: Path) -> None:
    run, config = made
    assert run.summary.conclusion().startswith(("after is", "before and after are"))
    found = ct.evaluate(run, problems=4, temperatures=(0.0,), digits_a=2, watcher=QUIET)
    assert found.to_json()["pass@1"]["value"] == found.accuracy
    block = ct.evaluate(run, {"name": "multiplication", "digits_a": 2}, problems=4, temperatures=(0.0,), watcher=QUIET)
    keys = ct.evaluate(run, {"digits_a": 2}, problems=4, temperatures=(0.0,), watcher=QUIET)
    assert block.to_json()["pass@1"] == keys.to_json()["pass@1"] == found.to_json()["pass@1"]
    other = ct.train(config, tmp_path / "b", method="grpo", watcher=QUIET)
    compared = ct.compare(run, other)
    assert [one["name"] for one in compared.to_json()["runs"]] == [str(run), str(other)]
    assert compared.conclusions()[0] in " ".join(str(compared).split())


def test_a_run_goes_on_through_the_other_door(
    made: tuple[ct.Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, config = made
    app(["train", str(config), "--run", str(run.path), "--resume", "--json"], standalone_mode=False)
    again = json.loads(capsys.readouterr().out)
    assert again["decoding"] == run.summary.to_json()["decoding"]
    app(["train", str(config), "--run", str(tmp_path / "c"), "--json"], standalone_mode=False)
    from_shell = json.loads(capsys.readouterr().out)
    resumed = ct.train(BLOCKS, tmp_path / "c", resume=True, watcher=QUIET)
    assert resumed.summary.to_json()["decoding"] == from_shell["decoding"] == again["decoding"]
    assert (tmp_path / "c" / "config.yaml").read_text() == (run.path / "config.yaml").read_text()
    with pytest.raises(ct.RunError, match="already holds a run; continue it with `resume`"):
        ct.train(BLOCKS, tmp_path / "c", watcher=QUIET)


def test_a_configuration_that_was_loaded_is_one(made: tuple[ct.Run, Path]) -> None:
    run, config = made
    loaded = ct.load_config(config, steps=3, digits_a=2)
    assert (loaded.train.steps, loaded.sampling.max_new_tokens) == (3, 12)
    again = ct.load_config(loaded, steps=4)
    assert (again.train.steps, again.task, again.method.build()) == (4, loaded.task, loaded.method.build())
    assert again.model.model_fields_set == loaded.model.model_fields_set
    held = ct.Run(run.path)
    assert (held.summary.decoding, held.config.train.steps) == (run.summary.decoding, 2)
    assert [record["step"] for record in held.metrics()] == [1, 2]


def test_plan_and_grade(made: tuple[ct.Run, Path], tmp_path: Path) -> None:
    _, config = made
    planned = ct.plan(config, memory="2GB")
    assert planned.fits
    assert planned.to_json()["at_most"]["peak_bytes"] == planned.peak_bytes > 0
    (tmp_path / "rows.jsonl").write_text(
        '{"prediction": "so 4", "answers": ["4"]}\n{"prediction": "5", "answer": "4"}\n'
    )
    graded = ct.grade(tmp_path / "rows.jsonl", "last_integer")
    assert (graded.accuracy, graded.correct) == (0.5, 1)
    assert [row["reward"] for row in graded.to_json()["rows"]] == [1.0, 0.0]
    (tmp_path / "unread.jsonl").write_text(
        '{"prediction": "4", "answer": "4"}\n{"prediction": "4", "answer": "four"}\n'
    )
    unread = ct.grade(tmp_path / "unread.jsonl", "last_integer")
    assert (unread.accuracy, unread.correct, unread.unjudged) == (None, 1, 1)
    assert "1 of 2 completions got no reward" in str(unread.why_inconclusive)
    with pytest.raises(ct.ConfigError) as refused:
        ct.grade(tmp_path / "rows.jsonl", "last_integer", deadline=3)
    assert refused.value.key == "deadline"


def test_the_method_is_built_once_and_each_file_of_problems_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"question": f"{n}*7=\n", "answer": str(7 * n)}) for n in range(11, 41)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    read: list[object] = []
    built: list[str] = []
    made = MethodConfig._made

    def counted(path: str) -> list[Row]:
        read.append(path)
        return read_rows(path)

    def counted_method(block: MethodConfig) -> ct.Method:
        built.append(block.name)
        return made(block)

    monkeypatch.setattr(table, "read_rows", counted)
    monkeypatch.setattr(MethodConfig, "_made", counted_method)
    task = {"name": "file", "path": str(tmp_path / "rows.jsonl")}
    train = BLOCKS["train"] | {"steps": 1, "memory": "2GB"}  # what fits is planned from the longest prompt
    method = {"name": "t-spmo", "group": 5}  # of no other test
    ct.train(BLOCKS | {"task": task, "train": train, "method": method}, tmp_path / "run", watcher=QUIET)
    assert read == [str(tmp_path / "rows.jsonl")]
    assert built == ["t-spmo"]
