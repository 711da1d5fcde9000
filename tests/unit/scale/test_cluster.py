"""Whether the machines of a cluster have room, and what is said where they have not."""

import builtins
import os
from typing import Any

import pytest

from creditree.config.load import check_config
from creditree.config.schema import RunConfig
from creditree.errors import ConfigError
from creditree.scale.cluster import ADDRESS, Need, NodeRoom, check_fits, fitting, ray_module
from creditree.setup.resolve import Resolved, resolve
from creditree.setup.scaled import build_scaled, check_workers
from creditree.setup.sharded import check_sharded

TWO = [NodeRoom("10.0.0.1", 8, 1), NodeRoom("10.0.0.2", 4, 0)]


@pytest.mark.parametrize(("workers", "most", "cpus"), [(1, 16, 8), (2, 16, 4), (3, 16, 4), (12, 16, 1), (2, 2, 2)])
def test_each_worker_takes_as_many_cpus_as_fit(workers: int, most: int, cpus: int) -> None:
    assert fitting(TWO, workers, most, gpus=0) == Need(cpus)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ConfigError) as refused:
        fitting(TWO, 13, 4, gpus=0)
    assert str(refused.value) == (
        "`workers` is 13, each of which needs 1 CPU, and there is room for 12 (10.0.0.1: 8 CPUs, 1 GPUs; 10.0.0.2: 4 "
        "CPUs, 0 GPUs); missing: 1 CPU; set `workers` to 12, or join a larger cluster (RAY_ADDRESS)."
    )
    with pytest.raises(ConfigError, match="missing: 2 times 1 CPU and 1 GPU; set `workers` to 1"):
        check_fits(TWO, 3, Need(1, 1))
    with pytest.raises(ConfigError, match="add a machine with `ray start`"):
        check_fits(TWO[1:], 1, Need(1, 1))


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return imported(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'creditree\[ray\]'"):
        ray_module()


def config_of(**blocks: Any) -> RunConfig:
    return check_config({"model": {"name": "builtin:multiplication"}, "task": {"name": "multiplication"}} | blocks, "c")


def test_workers_that_make_no_sense_are_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    with pytest.raises(ConfigError, match="set 1 or more"):
        check_workers(config_of(), 0)
    with pytest.raises(ConfigError, match="samples elsewhere already"):
        check_workers(config_of(engine={"name": "vllm", "url": "http://127.0.0.1:1"}), 2)
    cpus = len(os.sched_getaffinity(0))
    with pytest.raises(ConfigError, match=f"there is room for {cpus} .this machine: {cpus} CPUs"):
        build_scaled(resolve(config_of()), cpus + 3, lambda sentence: None)
    with pytest.raises(ConfigError, match="of memory, of which this machine has"):
        build_scaled(resolve(config_of(model={"name": "random:qwen2-1.5b"})), 400, lambda sentence: None)


@pytest.mark.parametrize(
    ("workers", "name", "said"),
    [
        (None, "builtin:multiplication", "there are no `workers`; set `workers` to 2 or more"),
        (1, "builtin:multiplication", "`workers` is 1; set `workers` to 2 or more"),
        # 4 * 1,543,714,304 bytes in float32: 6.17 GB
        (2, "random:qwen2-1.5b", "each of 2 `workers` would hold 3.09 GB of the base.*; set `workers` to 5 or more"),
    ],
)
def test_a_base_is_divided_among_enough_workers(
    workers: int | None, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("creditree.setup.sharded.whole_memory", lambda device: 2 * 10**9)
    with pytest.raises(ConfigError, match=said):
        check_sharded(config_of(model={"name": name, "sharded": True}), workers)


def test_one_machine_holds_a_base_three_times_while_workers_load_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    config = config_of(model={"name": "random:qwen2-1.5b", "sharded": True})
    base = 4 * 1_543_714_304  # float32
    monkeypatch.setattr("creditree.setup.sharded.whole_memory", lambda device: 3 * base - 1)
    with pytest.raises(ConfigError, match=r"held 3 times by this machine while workers load it, which takes 18\.52 GB"):
        build_scaled(Resolved(config), 2, lambda sentence: None)
