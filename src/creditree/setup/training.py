"""Training into a run directory, from a checked configuration to the summary."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from creditree.config.load import parse_config
from creditree.config.schema import RunConfig
from creditree.evaluate.accuracy import Evaluation
from creditree.evaluate.prompt import text_notes
from creditree.evaluate.summary import Summary
from creditree.pieces import check_named
from creditree.report.mirrors import mirrored, open_mirrors
from creditree.report.watcher import Watcher
from creditree.runs.directory import SERVER_LOG, RunDirectory
from creditree.setup.choices import choices_text
from creditree.setup.engine import Surroundings
from creditree.setup.parts import build
from creditree.setup.resolve import Resolved, resolve
from creditree.setup.sharded import check_sharded
from creditree.setup.workload import memory_note
from creditree.train.procedure import run_training, validated_at
from creditree.train.settings import Parts, Settings
from creditree.train.state import State
from creditree.verify.verifier import closing

_Ready = tuple[Parts, Settings, RunDirectory, Watcher]
"""What a run is trained with."""


def train_into(
    config: RunConfig, run: Path, watcher: Watcher, *, resume: bool = False, workers: int | None = None
) -> Summary:
    """Train into a run directory; with `resume` go on with the run that is there, if any.

    `workers`: processes on this machine or a cluster that do the work; None: this one does it. Raises Interrupted where
    a signal stopped it.
    """
    with _ready(config, run, watcher, resume=resume, workers=workers) as ready:
        return run_training(*ready)


def tell_of_start(run: Path, watcher: Watcher) -> None:
    """Say where there is no run that could be continued, for whoever has asked for that."""
    if not os.path.lexists(run / "config.yaml"):
        watcher.message(f"there is no run in {run} to continue, so it starts now")


def train_until(
    config: RunConfig, run: Path, watcher: Watcher, tokens: int, workers: int | None = None
) -> tuple[State, Evaluation]:
    """Train into a run directory, going on with the run that is there, until `tokens` tokens are sampled, and validate.

    Return the counts so far, and what was found on the validation problems. The run has not ended: it goes on from its
    checkpoint when it is asked for more. Raises Interrupted where a signal stopped it.
    """
    with _ready(config, run, watcher, resume=True, workers=workers) as ready:
        return validated_at(*ready, tokens)


@contextmanager
def _ready(config: RunConfig, run: Path, watcher: Watcher, *, resume: bool, workers: int | None) -> Iterator[_Ready]:
    """Give the block a run that is ready to train: its directory is held, and what it holds open is closed after it."""
    is_there = resume and os.path.lexists(run / "config.yaml")
    if is_there:
        for axis, name in config.method.locations.items():
            check_named(axis, name)
    resolved = resolve(config, recorded=_recorded(run) if is_there else None)
    check_sharded(resolved.config, workers)
    opened = RunDirectory.resume if resume else RunDirectory.create
    with opened(run, resolved.yaml) as directory:
        parts = _built(resolved, workers, watcher, directory)
        config, settings = resolved.config, resolved.settings
        with ExitStack() as stack:
            stack.callback(parts.engine.close)
            for sentence in _first_words(resolved, parts):
                watcher.message(sentence)
            for verifier in parts.verifiers:
                stack.enter_context(closing(verifier))
            limits = (settings.all_steps, settings.cpu_seconds, settings.seconds, settings.tokens)
            stack.enter_context(watcher.training(*limits))
            mirrors = open_mirrors(config.log.mirrors, run, config.model_dump(mode="json"), watcher.message)
            yield parts, settings, directory, stack.enter_context(mirrored(watcher, mirrors))


def _built(resolved: Resolved, workers: int | None, watcher: Watcher, run: RunDirectory) -> Parts:
    if workers is None:
        return build(resolved, Surroundings(run.path / SERVER_LOG, watcher.message))
    from creditree.setup.scaled import build_scaled  # Ray is imported by whoever asks for workers

    return build_scaled(resolved, workers, watcher.message)


def _recorded(run: Path) -> RunConfig:
    return parse_config(RunDirectory.read(run).config_yaml, str(run / "config.yaml"))


def _first_words(resolved: Resolved, parts: Parts) -> list[str]:
    """Return what is said of a run before its first step: what it is, what was chosen, and what to know."""
    config, size = resolved.config, parts.learner.trained.description
    said = [f"{parts.method.name} on {parts.task.name}: {config.model.name}, {size}"]
    if resolved.choices:
        said.append(choices_text(resolved.choices))
    if config.train.memory is not None:
        said.append(memory_note(config))
    if parts.start is not None:
        said.append(f"going on from {parts.start.words}")
    said += parts.engine.notes
    guard = parts.guard.notes if parts.guard else ()
    texts = text_notes(parts.task.prompt, parts.model.texts)
    return [*said, *parts.task.notes, *(f"guard: {note}" for note in guard), *texts]
