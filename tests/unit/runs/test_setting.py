"""What runs of one setting have in common, and what settings of one method are called."""

from pathlib import Path
from typing import Any

from creditree.runs.directory import RunDirectory
from creditree.runs.setting import RunSetting, inputs_of, labels_of

CONFIG: dict[str, Any] = {"seed": 0, "method": {"name": "grpo", "group": 8}, "train": {"steps": 3, "rate": 0.001}}


def setting(method: str = "grpo", task: str = "sums", seed: int = 0, **train: Any) -> RunSetting:
    changed = {"seed": seed, "train": {**CONFIG["train"], **train}}
    return RunSetting.of(method, task, {**CONFIG, **changed})


def labels(*settings: RunSetting) -> list[str]:
    return labels_of(settings, [f"run-{place}" for place in range(len(settings))])


def test_a_seed_is_no_part_of_a_setting() -> None:
    assert setting(seed=1).key == setting(seed=2).key != setting(rate=0.002).key
    assert labels(setting(), setting(seed=1)) == ["grpo", "grpo"]


def test_what_followed_the_memory_that_was_free_is_no_part_of_it_either() -> None:
    pieces: dict[str, Any] = {"max_rows": 512, "micro_batch_tokens": 1024, "stored_tokens": None}
    assert setting(**pieces).key == setting(seed=1, max_rows=384, micro_batch_tokens=512, stored_tokens=9000).key


def test_settings_of_one_method_are_told_apart_by_what_differs() -> None:
    low, high = "grpo, rate 0.001", "grpo, rate 0.004"
    assert labels(setting(), setting(rate=0.004), setting(seed=1)) == [low, high, low]
    assert labels(setting(), setting(rate=0.004), setting("s-grpo")) == [
        "grpo, rate 0.001",
        "grpo, rate 0.004",
        "s-grpo",
    ]
    assert labels(setting(), setting(limit=None)) == ["grpo, limit not set", "grpo, limit None"]


def test_a_key_whose_last_part_others_have_is_written_out() -> None:
    first, second = (
        RunSetting.of("grpo", "sums", {"sampling": {"temperature": t}, "validation": {"temperature": t}})
        for t in (0, 1)
    )
    assert labels(first, second)[1] == "grpo, sampling.temperature 1, validation.temperature 1"


def test_the_task_is_named_where_there_are_several() -> None:
    assert labels(setting(), setting(task="products")) == ["grpo on sums", "grpo on products"]


def test_runs_are_told_apart_by_name_where_they_differ_in_too_many_keys() -> None:
    # Four keys differ, three are named: the third setting differs from the second in the fourth only.
    a, b, c = setting(k=1, l=1, m=1, n=1), setting(k=2, l=2, m=2, n=1), setting(k=2, l=2, m=2, n=2)
    second, third = (f"grpo, k 2, l 2, m 2: run-{place}" for place in (1, 2))
    assert labels(a, b, c, b) == ["grpo, k 1, l 1, m 1", second, third, second]


def test_other_problems_or_weights_are_another_setting_and_another_engine_is_none() -> None:
    def of(**inputs: Any) -> RunSetting:
        return RunSetting.of("grpo", "sums", CONFIG, inputs)

    assert of(measured="aa", engine="native").key == of(measured="aa", engine="torch").key
    assert labels(of(measured="aa"), of(measured="bb")) == ["grpo, inputs.measured aa", "grpo, inputs.measured bb"]
    other = of(base={"sha256": "c" * 64})
    assert labels(of(base={"sha256": "d" * 64}), other)[1] == f"grpo, inputs.base.sha256 {'c' * 16}...{'c' * 5}"


def test_digests_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, "seed: 0") as run:
        assert inputs_of(run) == {}
        run.write_json("inputs.json", {"measured": "aa"})
        assert inputs_of(run) == {"measured": "aa"}
        (tmp_path / "inputs.json").write_text("[]")
        assert inputs_of(run) == {}
