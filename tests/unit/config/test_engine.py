"""The key `engine`: what a server needs, what it cannot do, and what has no effect without one."""

import pytest
import yaml

from creditree.config.engine import check_adapters
from creditree.config.load import dump_config, parse_config
from creditree.errors import ConfigError
from creditree.setup.resolve import resolve

SERVER = "engine: {name: vllm, url: 'http://127.0.0.1:8000'}"
TASK = "task: multiplication"


def test_without_a_server_a_configuration_is_written_as_ever() -> None:
    assert "engine" not in yaml.safe_load(dump_config(parse_config(TASK, "here")))
    assert "engine" not in yaml.safe_load(dump_config(parse_config(f"{TASK}\nengine: in_process", "here")))


def test_a_server_is_written_with_all_its_keys() -> None:
    config = parse_config(f"{TASK}\n{SERVER}", "here")
    held = yaml.safe_load(dump_config(config))["engine"]
    assert held["url"] == "http://127.0.0.1:8000"
    assert parse_config(dump_config(config), "there").engine == config.engine


@pytest.mark.parametrize("start", ["true", "{}", "{memory: 0.3}"])
def test_a_server_of_ones_own_is_a_block_or_true(start: str) -> None:
    config = parse_config(f"{TASK}\nengine: {{name: vllm, start: {start}}}", "here", ["engine.start.ready_s=5"])
    assert config.engine.start is not None
    assert config.engine.start.ready_s == 5
    assert parse_config(dump_config(config), "there").engine == config.engine
    assert parse_config(f"{TASK}\n{SERVER}", "here", ["engine.start=false"]).engine.start is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("engine: vllm", "a server has a URL; set engine.url"),
        ("engine: {name: vllm, start: true, url: 'http://here'}", "engine.url has no effect where engine.start starts"),
        ("engine: {name: vllm, start: {pyton: x}}", "unknown key 'engine.start.pyton'"),
        ("engine: {name: vllm, start: yes please}", "engine.start is 'yes please': it is a block of keys"),
        ("engine: {name: vllm, start: true}\nmodel: {dtype: nf4}", "model.dtype is nf4, in which engine.start cannot"),
        ("engine: {name: llama_server, start: true}", "engine.start starts vLLM, and engine.name is 'llama_server'"),
        ("engine: llama_server", "engine.name is 'llama_server', and a server has a URL; set engine.url"),
        ("engine: {start: true}", "have no effect in this process"),
        ("engine: {url: 'http://here'}", "have no effect in this process; add engine.name: vllm"),
        ("engine: {name: sglang}", "engine.name is 'sglang'"),
        (f"{SERVER}\ntrain: {{weights: all}}", "a server is given adapters, not whole models"),
        (f"{SERVER}\nmethod: {{name: grpo, loss_temperature: 0.5}}", "method.loss_temperature 0.5 needs"),
        (f"{SERVER}\nmethod: {{name: grpo, select: low_probability}}", "select 'low_probability' reads"),
        ("method: {name: grpo, sampler_correction: tokens}", "method.sampler_correction is 'tokens'"),
    ],
)
def test_what_makes_no_sense_is_refused(more: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        parse_config(f"{TASK}\n{more}", "here")


@pytest.mark.parametrize("method", ["treerl", "attnrl", "{name: grpo, select: top_entropy}"])
def test_methods_that_look_inside_the_model_are_those_of_any_engine(method: str) -> None:
    assert parse_config(f"{TASK}\n{SERVER}\nmethod: {method}", "here").engine.is_remote


def test_at_temperature_one_the_raw_probabilities_are_those_that_were_sampled_from() -> None:
    more = "method: {name: grpo, select: low_probability}\nsampling: {temperature: 1}"
    assert parse_config(f"{TASK}\n{SERVER}\n{more}", "here").engine.is_remote


def test_a_server_that_loads_no_adapters_measures_and_does_not_train() -> None:
    config = parse_config(f"{TASK}\nengine: {{name: llama_server, url: 'http://127.0.0.1:8080'}}", "here")
    with pytest.raises(ConfigError, match="measures base models, and training needs one that does"):
        resolve(config)
    check_adapters(parse_config(f"{TASK}\n{SERVER}", "here").engine, "training")
