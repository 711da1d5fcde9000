"""Training and measuring with a server: a small one of vLLM's protocol, over a real tiny model, on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import yaml

import creditree
from creditree.config.load import parse_config
from creditree.config.schema import RunConfig
from creditree.engines.vllm.client import ServerError
from creditree.errors import ConfigError
from creditree.measure.evaluation import evaluate
from creditree.measure.target import EvaluationRequest
from creditree.models.load import load_model
from creditree.report.watcher import Watcher
from creditree.runs.directory import RunDirectory
from creditree.setup.training import train_into
from tests.fake_vllm import FakeVllm, FaultyProxy, completions, drop, fewer, restarted, served, serving, stand_in

MODEL = "builtin:multiplication"
RUN = """
model: {model}
task: {{name: multiplication, num_held_out: 20}}
method: {{name: grpo, group: 8, kl: 0}}
lora: {{rank: 4}}
sampling: {{temperature: 1.0, max_new_tokens: 24}}
engine: {{name: vllm, url: "{url}", outage_s: 5}}
train: {{steps: {steps}, problems_per_step: 4, learning_rate: 5e-3}}
evaluation: {{problems: 4, temperatures: [0]}}
log: {{rollouts_every: 1}}
"""


@dataclass
class Heard(Watcher):
    """Keeps what it is told."""

    messages: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Keep a sentence."""
        self.messages.append(text)


def config_of(url: str, steps: int = 2) -> RunConfig:
    return parse_config(RUN.format(model=MODEL, url=url, steps=steps), "run.yaml")


@pytest.fixture
def line() -> Iterator[tuple[FaultyProxy, str]]:
    proxy = FaultyProxy(FakeVllm(load_model(MODEL)))
    with served(proxy) as url:
        yield proxy, url


def test_a_run_of_two_steps_and_its_measurement(tmp_path: Path, line: tuple[FaultyProxy, str]) -> None:
    proxy, url = line
    # lost answers, a restart and an answer that is cut: all in one step
    proxy.faults = {"/v1/completions": [None] * 24 + [drop, fewer, restarted]}
    heard = Heard()
    train_into(config_of(url), tmp_path / "run", heard)
    run = RunDirectory.read(tmp_path / "run")
    steps = run.metrics()
    assert [step["step"] for step in steps] == [1, 2]
    assert steps[-1]["updates"] == 2
    assert all(float(str(step["sampler_mismatch_max"])) < 1e-3 for step in steps)  # what the learner says of the tokens
    said = next(text for text in heard.messages if text.startswith("sampling: "))
    assert "vLLM 0.0-fake at http://127.0.0.1" in said
    assert "the run cannot be repeated to the bit, and goes on from its checkpoint" in said
    assert run.read_json("inputs.json")["engine"] == f"vLLM 0.0-fake at {url}, which draws by itself"
    assert proxy.behind.adapters == {}
    asked = {body["model"] for body in completions(proxy.behind.asked)}
    assert len(asked - {"base"}) >= 3  # the weights before, between and after the updates
    measuring = EvaluationRequest(str(tmp_path / "run"), temperatures=(0.0,), problems=4)
    with pytest.raises(ConfigError, match=f"names a server that would be asked: engine.url is {url}; add `trust` if"):
        evaluate(measuring, heard)
    found = evaluate(replace(measuring, trusted=True), heard)
    assert found.record["n"] == 4
    assert proxy.behind.adapters == {}


@pytest.mark.thorough
def test_a_method_that_looks_inside_the_model_and_is_one_step_off_policy(
    tmp_path: Path, line: tuple[FaultyProxy, str]
) -> None:
    _, url = line
    config = RUN.format(model=MODEL, url=url, steps=3).replace(
        "{name: grpo, group: 8, kl: 0}",
        "{name: attnrl, min_gap: 2, delta: 1, step_texts: ['\\n'], sampler_correction: sequence}",
    )
    train_into(parse_config(config, "run.yaml"), tmp_path / "run", Heard())
    last = RunDirectory.read(tmp_path / "run").metrics()[-1]
    assert last["step"] == 3
    assert int(str(last["updates"])) >= 1
    assert int(str(last["influence_tokens"])) > 0


@pytest.mark.thorough
def test_a_server_that_serves_stale_weights_ends_the_run_which_goes_on_later(
    tmp_path: Path, line: tuple[FaultyProxy, str]
) -> None:
    proxy, url = line

    @dataclass
    class Stale(Heard):
        def update(self, record: object) -> None:
            proxy.always = {"/v1/completions": serving(lambda server: "base")}

    with pytest.raises(ServerError, match="serves the base weights in place of those that were loaded"):
        train_into(config_of(url, steps=3), tmp_path / "run", Stale())
    run = RunDirectory.read(tmp_path / "run")
    assert [step["step"] for step in run.metrics()] == [1]
    proxy.always = {}
    train_into(config_of(url, steps=3), tmp_path / "run", Heard(), resume=True)
    assert [step["step"] for step in run.metrics()] == [1, 2, 3]


@pytest.mark.thorough
def test_a_run_starts_a_server_of_its_own_again_where_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeVllm(load_model(MODEL))
    started: set[int] = set()

    @dataclass
    class Killing(Heard):
        def update(self, record: object) -> None:
            for process in psutil.Process().children(recursive=True):
                if "started_vllm.py" in " ".join(process.cmdline()) and not process.children():
                    started.add(process.pid)
                    fake.restart()  # a new process knows no adapters
                    process.kill()

    heard = Killing()
    with served(fake) as url:
        monkeypatch.setenv("BEHIND", url)
        config = config_of("http://x").model_dump(mode="json", exclude_defaults=True)
        config["engine"] = {"name": "vllm", "start": {"python": stand_in(tmp_path)}}
        text = yaml.safe_dump(config)
        train_into(parse_config(text, "run.yaml"), tmp_path / "run", heard)
        run = RunDirectory.read(tmp_path / "run")
        assert [step["step"] for step in run.metrics()] == [1, 2]
        assert len(started) == 2
        assert sum("is started again" in text for text in heard.messages) == 2
        engine = run.read_json("inputs.json")["engine"]
        assert engine == "vLLM 0.0-fake that was started for it, which draws by itself"
        log = (run.path / "server.log").read_text()
        assert log.count("INFO: loading") == 3
        assert f"--model {Path(creditree.__file__).parent}" in log
        assert "--max-lora-rank 8" in log
        asked = EvaluationRequest(str(run.path), temperatures=(0.0,), problems=2)
        with pytest.raises(
            ConfigError, match=r"engine\.start\.python is .*; add `trust` if you trust whoever wrote it"
        ):
            evaluate(asked, heard)
        assert evaluate(replace(asked, trusted=True), heard).record["n"] == 2
    assert not any("started_vllm" in " ".join(process.cmdline()) for process in psutil.Process().children())
