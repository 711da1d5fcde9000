"""What a configuration takes from the adapter that it goes on learning, without training one."""

import json
from pathlib import Path

import pytest
import torch

from creditree.config.load import dump_config, parse_config, parse_values
from creditree.config.schema import RunConfig
from creditree.config.task import FileConfig
from creditree.errors import ConfigError, CreditreeError, ModelError, RunError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.all_weights import AllWeights
from creditree.models.load import load_model
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.setup.start import run_values, started, with_data
from creditree.setup.workload import workload_of
from creditree.train.start import Start

BASE = "builtin:multiplication"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run directory with an adapter of rank 2 on layers 3 and 5, away from zero."""
    path = tmp_path_factory.mktemp("start") / "a"
    adapter = Adapter(load_model(BASE), LoraSpec(2, 6.0, 0.1, (3, 5), ("q_proj", "o_proj")), Key.of(7))
    with torch.no_grad():
        for matrix in adapter.matrices:
            matrix.add_(0.01)
    with (
        RunDirectory.create(path, "task: multiplication\nlora: {rank: 2}\n") as run,
        run.published("adapter") as folder,
    ):
        adapter.save(folder)
    return path


def config_of(start: Path | str, *overrides: str) -> RunConfig:
    text = f"task: multiplication\ntrain: {{start: '{start}', threads: 1}}\n"
    return parse_config(text, "run.yaml", overrides)


def test_problems_on_the_hub_are_no_file() -> None:
    block = "{name: file, path: 'hub:some/set', test_path: tests.csv}"
    task = started(parse_config(f"task: {block}\n", "run.yaml")).task
    assert isinstance(task, FileConfig)
    assert (task.path, task.test_path) == ("hub:some/set", str(Path("tests.csv").absolute()))


@pytest.mark.parametrize("place", ["", "adapter"])
def test_the_adapter_s_shape_and_base_are_the_saved_one_s(saved: Path, place: str) -> None:
    found = started(config_of(saved / place))
    lora = found.lora
    assert (lora.rank, lora.alpha, lora.dropout, lora.layers) == (2, 6.0, 0.1, [3, 5])
    assert sorted(lora.targets) == ["o_proj", "q_proj"]
    assert found.model.name == BASE
    assert dump_config(started(found)) == dump_config(found)


def test_the_learner_starts_with_the_saved_weights(saved: Path) -> None:
    parts = build(resolve(config_of(saved, "lora.dropout=0")))
    other = Adapter(load_model(BASE), LoraSpec(2, 6.0, 0.0, (3, 5), ("q_proj", "o_proj")), Key.of(1))
    other.load(saved / "adapter")
    state, expected = parts.learner.trained.state(), other.state()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert parts.start is not None
    assert parts.start.words == f"the adapter of {saved}"


def test_a_pilot_s_directory_stands_for_the_run_in_it(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(saved)
    assert started(config_of(tmp_path)).lora.rank == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lora.rank=8", "lora.rank is 8, but the adapter of train.start "),
        ("lora.alpha=4", "lora.alpha is 4.0, but"),
        ("lora.targets=[q_proj]", "lora.targets is ['q_proj'], but"),
        ("lora.layers=1/3", "lora.layers is [4, 5], but"),
        ("model=builtin:word_problems", "model.name is 'builtin:word_problems', but what train.start "),
        ("train.weights=all", "holds an adapter and train.weights is 'all'; set train.weights: adapter"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(saved: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        started(config_of(saved, override))
    assert words in str(error.value)


def test_the_same_said_in_other_words_is_not_refused(saved: Path) -> None:
    keys = ("lora.rank=2", "lora.alpha=6", "lora.targets=[o_proj, q_proj]", "lora.layers=[5, 3]", f"model={BASE}")
    assert started(config_of(saved, *keys)).lora.layers == [3, 5]


def test_a_start_that_is_not_there_or_no_start(tmp_path: Path) -> None:
    for start, words in (
        (tmp_path / "nowhere", "does not exist; give a run directory"),
        (tmp_path, "holds no run and no adapter; give a run directory"),
    ):
        with pytest.raises(ModelError, match=words):
            started(config_of(start))
    with (
        RunDirectory.create(tmp_path / "b", "task: multiplication\n"),
        pytest.raises(ModelError, match="has not ended"),
    ):
        started(config_of(tmp_path / "b"))


def test_changed_content_is_another_start(saved: Path, tmp_path: Path) -> None:
    start = Start.of(str(saved))
    with RunDirectory.create(tmp_path, "task: multiplication\n") as run:
        start.record(run)
        start.record(run)
        assert run.read_json("start.json")["digest"] == start.digest
        with pytest.raises(RunError, match=r"has changed since run .* was started from it"):
            Start(start.named, start.folder, "0" * 16).record(run)


def test_the_run_s_own_configuration_or_none(saved: Path, tmp_path: Path) -> None:
    for place in (saved, saved / "adapter"):
        assert run_values(str(place))[0]["lora"] == {"rank": 2}
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="lies in no run directory, so its task is not known; name a configuration"):
        run_values(str(tmp_path))


def test_a_file_takes_the_place_of_the_problems() -> None:
    text = "task: {name: file, path: a.csv, test_path: b.csv, question: q, test: 0.5}\nreward: exact"
    task = parse_with(text, "new.csv").task
    assert isinstance(task, FileConfig)
    assert (task.path, task.test_path, task.question, task.test) == ("new.csv", None, "q", 0.5)


@pytest.mark.parametrize(
    ("text", "wording", "reward"),
    [
        ("task: word_problems", "{question}\n", "last_integer"),
        ("task: {name: multiplication, prompt: {text: 'What is {question}?'}}", "What is {question}?", "last_integer"),
        ("task: math500", None, "math"),
    ],
)
def test_a_task_that_has_no_file_becomes_one_with_its_wording_and_reward(
    text: str, wording: str | None, reward: str
) -> None:
    config = parse_with(text, "new.csv")
    assert isinstance(config.task, FileConfig)
    assert config.task.path == "new.csv"
    assert wording is None or config.task.prompt.text == wording
    assert config.reward.name == reward


def parse_with(text: str, path: str) -> RunConfig:
    return parse_config(json.dumps(with_data(parse_values(text, "run.yaml"), "run.yaml", path)), "run.yaml")


def test_a_whole_model_is_told_from_an_adapter(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, "task: multiplication\ntrain: {weights: all}\n"):
        (tmp_path / "model").mkdir()
    with pytest.raises(
        CreditreeError, match=r"holds a whole model and train\.weights is 'adapter'; set train\.weights"
    ):
        started(config_of(tmp_path))
    assert started(config_of(tmp_path, "train.weights=all")).model.name == BASE


def test_all_weights_go_on_from_a_saved_model_and_their_reference_stays_the_base(tmp_path: Path) -> None:
    weights, base = AllWeights(load_model(BASE)), load_model(BASE).transformer.model.state_dict()
    with torch.no_grad():
        weights.matrices[0].add_(0.5)
    text = "task: multiplication\ntrain: {weights: all}\n"
    with RunDirectory.create(tmp_path, text) as run, run.published("model") as folder:
        weights.save(folder)
    trained = build(resolve(config_of(tmp_path, "train.weights=all"))).learner.trained
    expected = weights.state()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in trained.state().items())
    named = trained.model.transformer.model.named_parameters()
    with trained.off():
        assert all(torch.equal(tensor, base[name]) for name, tensor in named)


def test_the_guard_is_written_where_there_is_one_and_read_again() -> None:
    guard = "{path: g.csv, reward: {name: numeric, tolerance: 0.1}, prompt: {text: 'Q {question}'}}"
    config = parse_config(f"task: multiplication\nguard: {guard}", "run.yaml")
    assert parse_config(dump_config(config), "run.yaml").guard == config.guard
    without = parse_config("task: multiplication", "run.yaml")
    assert parse_config(dump_config(without), "run.yaml").guard == without.guard
    with pytest.raises(ConfigError, match=r"guard has no effect without the file of its problems; set guard\.path"):
        parse_config("task: multiplication\nguard: {tolerance: 0.1}", "run.yaml")
    with pytest.raises(ConfigError, match=r"unknown key 'guard\.tolerence'\. Did you mean 'tolerance'\?"):
        parse_config("task: multiplication\nguard: {tolerence: 0.1}", "run.yaml")


def test_a_plan_counts_the_guard_s_prompts(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("question,answer\n" + "7" * 60 + "*1=,7\n", encoding="utf-8")
    plain = parse_config("task: multiplication", "run.yaml")
    guarded = parse_config(f"task: multiplication\nguard: {{path: '{tmp_path / 'g.csv'}'}}", "run.yaml")
    assert workload_of(guarded)[1].tokens > 60 > workload_of(plain)[1].tokens


def test_a_file_of_problems_has_its_whole_path_even_where_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = started(parse_config("task: {name: file, path: sums.csv}\nguard: {path: old.csv}\n", "c.yaml"))
    assert isinstance(found.task, FileConfig)
    assert (found.task.path, found.guard.path) == (str(tmp_path / "sums.csv"), str(tmp_path / "old.csv"))
