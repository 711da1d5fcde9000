"""Anybody's piece is as good as ours: one file with one of each kind is trained with, planned, resumed and compared."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import creditree as ct
from creditree.config.load import load_config
from creditree.errors import ConfigError, RunError
from creditree.report.watcher import Watcher
from creditree.setup.dry_run import step_at_most
from creditree.setup.workload import workload_of
from creditree.user_code import load
from tests.e2e.command import write_config

OWN = {
    "explore": "TwoGroups",
    "credit": "Ranks",
    "select": "LastTokens",
    "objective": "LogLikelihood",
    "schedule": "MoreThenFewer",
}
LABEL = "grpo + " + ", ".join(f"{axis}={name}" for axis, name in OWN.items())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with the pieces' file, a configuration that names it by a relative path, and a run of it."""
    place = tmp_path_factory.mktemp("own")
    shutil.copy(Path(__file__).with_name("own_pieces.py"), place / "mine.py")
    write_config(
        place / "run.yaml",
        method={"name": "grpo", "group": 3, "more": 2, "last": 3} | {a: f"mine.py:{n}" for a, n in OWN.items()},
        sampling={"temperature": 0.7, "max_new_tokens": 8},
        train={"steps": 2, "problems_per_step": 1, "threads": 1},
        evaluation={"problems": 2, "temperatures": [0]},
    )
    ct.train(place / "run.yaml", place / "run", watcher=Watcher(), resume=False)
    return place


def test_the_run_is_of_these_pieces_and_says_so(made: Path) -> None:
    method = yaml.safe_load((made / "run" / "config.yaml").read_text())["method"]
    assert {axis: method[axis] for axis in OWN} == {axis: f"{made / 'mine.py'}:{name}" for axis, name in OWN.items()}
    assert (method["more"], method["last"], method["extra"], method["loss_mean"]) == (2, 3, 1, "completions")
    assert json.loads((made / "run" / "summary.json").read_text())["method"] == LABEL
    lines = [json.loads(line) for line in (made / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["completions"] for line in lines if "completions" in line] == [
        5,
        15,
    ]  # 3 + 2, and then those of 2 problems more


def test_what_is_not_known_of_a_piece_is_planned_by_its_upper_bound(made: Path) -> None:
    config = load_config(made / "run.yaml")
    work, _ = workload_of(config, 10)
    # all of max_completions as one group; every token learns; 4 times the problems, which is said to be assumed
    assert (work.group, work.replays, work.branches, work.learns) == (5, 0, None, "everything")
    assert (work.problems, work.most_problems, work.problems_assumed) == (1, 4, True)
    cost = step_at_most(config)
    assert (cost["completions"], cost["loss_terms"]) == (4 * 5, 4 * 5 * 8)


def test_it_is_resumed_and_compared_as_any_other(made: Path) -> None:
    ct.train(made / "run.yaml", made / "run", watcher=Watcher(), resume=True)
    assert LABEL in json.dumps(ct.compare(made / "run", made / "run", by_method=True).to_json())


def test_instances_are_pieces_as_well(made: Path, tmp_path: Path) -> None:
    """By their file, the run is the same run and goes on from any door; a class of this function is of this process."""
    shutil.copytree(made / "run", tmp_path / "run")
    kind: Any = load(f"{made / 'mine.py'}:LastTokens", "piece", "Name")
    mine = kind(last=3)
    ct.train(made / "run.yaml", tmp_path / "run", watcher=Watcher(), resume=True, method={"select": mine})
    here: Any = dataclass(frozen=True)(type("LikeLast", (kind,), {"name": "LikeLast"}))
    run = ct.train(made / "run.yaml", tmp_path / "here", watcher=Watcher(), steps=1, select=here(last=3))
    assert yaml.safe_load((run.path / "config.yaml").read_text())["method"]["select"] == "here:LikeLast"
    assert run.summary.method == LABEL.replace("LastTokens", "LikeLast")
    assert ct.evaluate(run, problems=2, base=False, watcher=Watcher()).accuracy is not None
    for again in (here(last=3), "here:Gone"):
        with pytest.raises(ConfigError, match=r"method.select is an instance of \w+, a class of a notebook, an interp"):
            ct.train(made / "run.yaml", run.path, watcher=Watcher(), resume=True, steps=1, select=again)


def test_a_number_out_of_range_or_misspelt_is_refused_as_ours_are(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"method.more is 0: set 1 or more\.$"):
        load_config(made / "run.yaml", ["method.more=0"])
    with pytest.raises(ConfigError, match=r"method.last is 'two': input should be a valid integer"):
        load_config(made / "run.yaml", ["method.last=two"])
    with pytest.raises(ConfigError, match=r"unknown key 'method.lst'. Did you mean 'last'\? \(in method\)"):
        load_config(made / "run.yaml", ["method.lst=2"])
    with pytest.raises(ConfigError, match=r"mine.py has no 'LastToken'\. Did you mean 'LastTokens'\?"):
        load_config(made / "run.yaml", [f"method.select={made}/mine.py:LastToken"])
    with pytest.raises(ConfigError, match=r"which is no subclass of creditree.select.base.Selection\."):
        load_config(made / "run.yaml", [f"method.select={made}/mine.py:Ranks"])


def test_an_explorer_that_takes_more_than_it_says_is_stopped(made: Path, tmp_path: Path) -> None:
    text = (made / "mine.py").read_text().replace("return self.group + self.more", "return self.group")
    (tmp_path / "mine.py").write_text(text)
    shutil.copy(made / "run.yaml", tmp_path / "run.yaml")
    with pytest.raises(ConfigError, match=r"'TwoGroups' wants 5 completions of a problem and says that it takes 3"):
        ct.train(tmp_path / "run.yaml", tmp_path / "run", watcher=Watcher(), resume=False)


def test_a_file_that_changed_is_no_run_to_go_on_with(made: Path, tmp_path: Path) -> None:
    kept = (made / "mine.py").read_text()
    (made / "mine.py").write_text(kept + "\n# changed\n")
    with pytest.raises(RunError, match=r"The file of the piece .*mine.py:TwoGroups changed since run .* was started"):
        ct.train(made / "run.yaml", made / "run", watcher=Watcher(), resume=True)
    (made / "mine.py").write_text(kept)
