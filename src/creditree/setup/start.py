"""What a configuration takes from the adapter that it goes on learning, and where its problems are others."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from creditree.config.load import check_config, parse_values
from creditree.config.schema import LoraBlock, RunConfig
from creditree.config.task import FileConfig, MixtureConfig, TaskConfig
from creditree.config.trust import without_pieces
from creditree.disk import is_file, is_folder
from creditree.errors import ConfigError
from creditree.models.adapter import LoraSpec, saved_spec
from creditree.models.gguf import is_gguf
from creditree.models.shapes import shape_of
from creditree.runs.directory import RunDirectory
from creditree.setup.build import build_lora, build_prompt
from creditree.sources import is_on_hub
from creditree.tasks.files import READERS
from creditree.text import shown
from creditree.train.start import find_start, is_adapter, run_of

GENERATED = ("multiplication", "word_problems")
"""Tasks whose problems come from no file."""

B = TypeVar("B", bound=BaseModel)


def started(config: RunConfig, *, offline: bool = False) -> RunConfig:
    """Return the configuration with base model and adapter shape as `train.start` has them; none: as it is.

    Raises ConfigError where it names another base model or adapter shape, and ModelError where there is no start.
    `offline`: the model's shape is not asked for over the network; layers given as a fraction are then not compared.
    """
    config = located(config)
    named = config.train.start
    if named is None:
        return config
    folder = find_start(named)
    _check_kind(config, named, folder)
    if not is_adapter(folder):
        return _on_base(config, named, _base_of_run(named))
    base, saved = saved_spec(folder)
    config = config if base is None else _on_base(config, named, base)
    _check_lora(config, named, saved, offline=offline)
    block = config.lora
    dropout = block.dropout if "dropout" in block.model_fields_set else saved.dropout
    layers = list(saved.layers) if isinstance(saved.layers, tuple) else saved.layers
    lora = LoraBlock(
        rank=saved.rank, alpha=saved.alpha, dropout=dropout, layers=layers, targets=list(saved.targets)
    )  # fmt: skip
    return config.model_copy(update={"lora": lora})


def located(config: RunConfig) -> RunConfig:
    """Return the configuration with absolute paths of model and problems: a run is read from anywhere.

    What is no path stays: names of built-in models and of the hub. A file of problems that is gone has its path still,
    so that a run names the file, and not another configuration. Reward functions are found by their own rule.
    """
    model = _placed(config.model, ("name",), _is_local)
    task = _located(config.task)
    guard = _placed(config.guard, ("path",), _is_file)
    return config.model_copy(update={"model": model, "task": task, "guard": guard})


def _located(task: TaskConfig) -> TaskConfig:
    if not isinstance(task, MixtureConfig):
        return _placed(task, ("path", "validation_path", "test_path"), _is_file)
    mixture = [part.model_copy(update={"task": _located(part.task)}) for part in task.mixture]
    return task.model_copy(update={"mixture": mixture})


def _is_local(name: str) -> bool:
    """Return whether a model's name is the path of a directory or of a GGUF file."""
    return is_folder(name) or (is_gguf(name) and is_file(name))


def _is_file(path: str) -> bool:
    """Return whether what is named as the place of problems is a file: names of the hub are none."""
    return bool(path) and not is_on_hub(path)


def _placed(block: B, keys: Sequence[str], is_path: Callable[[str], bool]) -> B:
    paths = {key: value for key in keys if (value := getattr(block, key, None)) is not None and is_path(value)}
    changed = {key: path for key, value in paths.items() if (path := os.path.abspath(value)) != value}
    return block.model_copy(update=changed) if changed else block


def with_data(values: Mapping[str, Any], where: str, path: str) -> dict[str, Any]:
    """Return a configuration's values with the problems of a file: its task's, or those of a task in its place.

    A task of another kind becomes `file`, with its wording of the prompt and its reward. Raises ConfigError.
    """
    config = check_config(values, where)
    if isinstance(config.task, FileConfig):
        task = on_file(config.task, path)
    elif isinstance(config.task, MixtureConfig):
        raise ConfigError(
            "`data` replaces the problems of one task, and those here are a mixture; name a configuration with task "
            "'file', or with another mixture."
        )
    else:
        prompt = build_prompt(config.task)
        wording = {"text": prompt.text, "chat": prompt.chat, "system": prompt.system}
        task = {"name": "file", "path": path, "prompt": wording}
    return {**values, "task": task, "reward": config.reward.written}


def on_file(task: FileConfig, path: str) -> dict[str, Any]:
    """Return the values of a task on another file: its columns and its wording of the prompt stay."""
    given = task.model_dump(mode="json", exclude_unset=True, exclude={"validation_path", "test_path"})
    return given | {"path": path}


def named_task(name: str, path: str | None) -> dict[str, Any]:
    """Return the task of a name, on a file where one is named. Raises ConfigError where it cannot have one."""
    if path is not None and (name in GENERATED or ":" in name):
        raise ConfigError(f"`data` names a file, but the problems of task '{name}' are generated; use `task` file.")
    if path is None and name == "file":
        raise ConfigError("`task` file needs the file of its problems: add `data` FILE.")
    refuse_file(name)
    return {"name": name} | ({} if path is None else {"path": path})


def refuse_file(task: str) -> None:
    """Raise ConfigError for a task that is the name of a file of problems."""
    if Path(task).suffix.lower() in READERS:
        raise ConfigError(f"`task` {shown(task)} is a file of problems: that is `task` file with `data` {shown(task)}.")


def run_values(named: str) -> tuple[dict[str, Any], str]:
    """Return the values of the run that a start lies in, and where they are. Raises ConfigError where it is in none."""
    run = run_of(named)
    if run is None:
        find_start(named)
        raise ConfigError(f"'{named}' lies in no run directory, so its task is not known; name a configuration first.")
    return parse_values(RunDirectory.read(run).config_yaml, str(run / "config.yaml")), str(run / "config.yaml")


def _base_of_run(named: str) -> str:
    values, where = run_values(named)
    return check_config(without_pieces(values), where).model.name


def _check_kind(config: RunConfig, named: str, folder: Path) -> None:
    everything = config.train.weights == "all"
    if is_adapter(folder) and everything:
        raise ConfigError(
            f"train.start '{named}' holds an adapter and train.weights is 'all'; set train.weights: adapter, or start "
            "from a run that trained all weights."
        )
    if not is_adapter(folder) and not everything:
        raise ConfigError(
            f"train.start '{named}' holds a whole model and train.weights is 'adapter'; set train.weights: all, or "
            f"leave train.start out and set model.name: {folder}."
        )


def _on_base(config: RunConfig, named: str, base: str) -> RunConfig:
    given = config.model.name
    base = os.path.abspath(base) if _is_local(base) else base
    if "name" in config.model.model_fields_set and given != base:
        raise ConfigError(
            f"model.name is '{given}', but what train.start '{named}' holds was trained on '{base}'; leave model.name "
            "out, or start from something else."
        )
    return config.model_copy(update={"model": config.model.model_copy(update={"name": base})})


def _check_lora(config: RunConfig, named: str, saved: LoraSpec, *, offline: bool) -> None:
    """Raise ConfigError for a key of `lora` that was given and says something else than the saved adapter."""
    block, given = config.lora, build_lora(config.lora)
    rank = given.rank if "rank" in block.model_fields_set else saved.rank
    compared: dict[str, tuple[object, object]] = {
        "rank": (given.rank, saved.rank),
        "alpha": (2 * rank if given.alpha is None else given.alpha, saved.alpha),
        "targets": (sorted(given.targets), sorted(saved.targets)),
    }
    shape = shape_of(config.model.name, offline=offline) if "layers" in block.model_fields_set else None
    if shape is not None:
        count = shape.num_layers
        compared["layers"] = list(given.layer_indices(count)), list(saved.layer_indices(count))
    for key, (ours, theirs) in compared.items():
        if key in block.model_fields_set and ours != theirs:
            raise ConfigError(
                f"lora.{key} is {ours}, but the adapter of train.start '{named}' has {theirs}; leave lora.{key} out, "
                "or train a fresh adapter."
            )
