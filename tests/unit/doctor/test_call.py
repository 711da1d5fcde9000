"""The doctor as a procedure: on this machine, on configurations that are tried, and on runs that are read."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import creditree as ct
from creditree.config.load import dump_config
from creditree.doctor.call import Checkup, doctor
from creditree.doctor.of_run import case_of_run, spread
from creditree.doctor.registry import DIAGNOSES
from creditree.doctor.request import DoctorRequest
from creditree.ledger import Ledger
from creditree.report.doctor import doctor_view
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.setup.run import Run
from tests.unit.doctor.cases import config, records

SMALL: dict[str, Any] = {
    "task": {"name": "multiplication", "digits_a": 3, "digits_b": 1},
    "method": {"name": "grpo", "group": 4},
    "sampling": {"temperature": 0.7, "max_new_tokens": 24},
    "train": {"steps": 2, "problems_per_step": 2, "learning_rate": 4e-3, "threads": 1},
    "evaluation": {"problems": 12, "temperatures": [0]},
    "log": {"rollouts_every": 1},
}
LONGER = {"train": {**SMALL["train"], "steps": 20}, "evaluation": {"problems": 200, "temperatures": [0]}}
FAILS = "def reward(completions, **columns):\n    raise ValueError('no judge today')\n"


def checked(subject: Any = None, *overrides: str, probe: bool = True) -> Checkup:
    return doctor(DoctorRequest(subject, overrides, probe), Watcher())


def ids(checkup: Checkup) -> list[str]:
    return [diagnosis.id for diagnosis in checkup.diagnoses]


def text_of(checkup: Checkup) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(doctor_view(checkup.to_json()))
    return console.export_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose learning rate is a trillion times too low."""
    return ct.train(SMALL, tmp_path_factory.mktemp("doctor") / "run", watcher=Watcher(), learning_rate=1e-12)


def test_this_machine() -> None:
    checkup = checked()
    record = json.loads(json.dumps(checkup.to_json()))
    assert (record["schema_version"], record["subject"]["kind"]) == (1, "machine")
    assert record["looked_for"] == [name for name, _ in DIAGNOSES]
    assert record["machine"]["devices"][0]["name"] == "cpu"
    assert record["machine"]["devices"][0]["usable"] > 0
    assert set(record["machine"]["extras"]) == {"quant", "gguf", "tensorboard", "wandb", "trackio"}
    shown = text_of(checkup)
    for words in ("decoding on the CPU", "torch", "creditree[gguf]", "were looked for"):
        assert words in shown


def test_a_healthy_configuration_has_no_problem_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkup = checked(SMALL | LONGER)
    assert checkup.healthy, str(checkup)
    assert set(ids(checkup)) <= {"zero_loss", "native"}
    record = checkup.to_json()
    assert record["memory"]["fits"] is True
    assert record["probe"]["groups"] >= 16
    assert list(tmp_path.iterdir()) == []
    assert "Tried in memory: " in text_of(checkup)


def test_a_probe_of_few_groups_says_what_it_cannot_say() -> None:
    checkup = checked(SMALL | LONGER, "train.steps=1")
    doubts = [
        sentence for sentence in checkup.left_out if "cannot be said of so few groups (2; 8 are needed)" in sentence
    ]
    assert len(doubts) == 1
    assert doubts[0] in text_of(checkup).replace("\n", " ")
    assert "Tried in memory: 1 step, 2 groups, " in text_of(checkup)


def test_completions_that_are_cut_off_are_seen_in_the_first_steps() -> None:
    checkup = checked(SMALL | LONGER, "sampling.max_new_tokens=4")
    first = checkup.diagnoses[0]
    assert (first.id, first.severity, dict(first.settings)) == (
        "truncated",
        "problem",
        {"sampling.max_new_tokens": 16},  # four times as many
    )
    shown = text_of(checkup)
    assert "sampling: {max_new_tokens: 16}" in shown
    assert f"{len(checkup.problems)} problem" in shown


def test_copies_are_seen_in_the_first_steps() -> None:
    checkup = checked(SMALL | LONGER, "sampling.temperature=0.01")
    assert "duplicates" in ids(checkup)
    assert not {"same_reward", "too_hard"} & set(ids(checkup))


def test_a_judge_that_fails_is_seen_in_the_first_steps(tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(FAILS, encoding="utf-8")
    checkup = checked(SMALL | LONGER | {"reward": f"{judge}:reward"})
    unjudged = next(diagnosis for diagnosis in checkup.diagnoses if diagnosis.id == "unjudged")
    assert unjudged.severity == "problem"
    assert "no judge today" in unjudged.example


def test_what_does_not_fit_is_not_loaded() -> None:
    big = SMALL | {"model": {"name": "random:qwen2-1.5b"}}
    checkup = checked(big, "train.memory=50MB")
    assert checkup.diagnoses[0].id == "memory"
    assert checkup.rehearsal is None
    assert any("does not fit" in sentence for sentence in checkup.left_out)
    assert "it does not fit on cpu" in text_of(checkup)


def test_a_run_whose_adapter_never_moved(run: Run) -> None:
    checkup = checked(run.path)
    unmoved = next(diagnosis for diagnosis in checkup.diagnoses if diagnosis.id == "unmoved")
    assert unmoved.severity == "problem"
    assert "learning_rate" in ids(checkup)
    record = checkup.to_json()
    assert (record["subject"], record["probe"]) == ({"kind": "run", "name": str(run.path)}, None)
    assert record["findings"][0]["section"] == f"docs/doctor.md#{record['findings'][0]['id']}"
    case, left_out = case_of_run(run.path)
    assert left_out == ()
    assert len(case.completions) == 2 * 2 * 4  # steps, problems, completions of a group
    assert len(case.base) == len(case.trained) == 12


def test_python_calls_the_same(run: Run) -> None:
    checkup = ct.doctor(run, watcher=Watcher())
    assert ids(checkup) == ids(checked(run.path))
    assert "problem unmoved: " in str(checkup)
    tried = ct.doctor(SMALL, probe=False, watcher=Watcher(), learning_rate=1.0)
    assert ids(tried)[0] == "learning_rate"
    assert tried.rehearsal is None


def unfinished(path: Path, **blocks: Any) -> RunDirectory:
    """Return a run that was stopped after 8 of 40 steps, as the run store writes it."""
    directory = RunDirectory.create(path, dump_config(config(**blocks)))
    for record in records(8, Ledger(completions=64, updates=8, solved=30, worthless=34)):
        directory.append(record)
    directory.close()
    return directory


def test_a_stopped_run_without_rollouts(tmp_path: Path) -> None:
    unfinished(tmp_path / "run")
    checkup = checked(tmp_path / "run")
    assert ids(checkup) == ["unfinished"]
    assert "8 of 40 steps" in checkup.diagnoses[0].text
    assert any("no rollouts" in sentence for sentence in checkup.left_out)


def test_a_leak_is_found_in_the_files_of_a_run(tmp_path: Path) -> None:
    rows = [f"How much is {n} plus 1?,{n + 1},train" for n in range(20)]
    rows += ["how much is  3 plus 1,4,test", *(f"What is {n} minus 1?,{n - 1},test" for n in range(100, 220))]
    table = tmp_path / "sums.csv"
    table.write_text("\n".join(["question,answer,split", *rows]) + "\n", encoding="utf-8")
    unfinished(tmp_path / "run", task={"name": "file", "path": str(table)})
    leak = next(diagnosis for diagnosis in checked(tmp_path / "run").diagnoses if diagnosis.id == "leak")
    assert leak.evidence == {"shared": 1, "measured": 121, "share": 1 / 121}
    assert "'How much is 3 plus 1?'" in leak.example
    table.unlink()
    gone = checked(tmp_path / "run")
    assert "leak" not in ids(gone)
    assert any("the problems could not be looked at" in sentence for sentence in gone.left_out)


def test_code_that_a_run_names_is_not_run(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    trace = tmp_path / "ran"
    code.write_text(f"open({str(trace)!r}, 'w')\ndef problems():\n    yield '1+1=', '2'\n", encoding="utf-8")
    unfinished(tmp_path / "run", task=f"{code}:problems")
    trace.unlink(missing_ok=True)  # checking the configuration above may have looked at it
    checkup = checked(tmp_path / "run")
    assert not trace.exists()
    assert any("is not run" in sentence for sentence in checkup.left_out)


@pytest.mark.parametrize(
    ("subject", "overrides", "error", "words"),
    [
        (Path("nowhere.yaml"), (), ct.ConfigError, "does not exist"),
        (None, ("train.steps=2",), ct.ConfigError, "have no effect on this machine"),
        ({"task": "multiplicatoin"}, (), ct.ConfigError, "Did you mean 'multiplication'"),
    ],
)
def test_mistakes_are_one_sentence(
    subject: Any, overrides: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        checked(subject, *overrides)


def test_a_directory_that_is_no_run_and_overrides_of_one(tmp_path: Path, run: Run) -> None:
    with pytest.raises(ct.RunError, match="There is no run in"):
        checked(tmp_path)
    with pytest.raises(ct.ConfigError, match="looked at as it was trained"):
        checked(run.path, "train.steps=2")


def test_steps_are_read_from_beginning_to_end() -> None:
    assert spread([1, 2, 3], 4) == [1, 2, 3]
    assert spread(list(range(0, 1000, 10)), 4) == [0, 330, 660, 990]
