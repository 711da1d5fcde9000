"""The evidence of a configuration before anything is trained: plan, problems, tokenizer, and a short rehearsal."""

from dataclasses import dataclass

from creditree.config.schema import RunConfig
from creditree.doctor.case import Case
from creditree.doctor.host import Host
from creditree.doctor.machine import memory
from creditree.doctor.of_run import attempted, texts_of
from creditree.doctor.rehearsal import Rehearsal, rehearse
from creditree.doctor.room import MemoryFit, room_of
from creditree.report.watcher import Watcher
from creditree.setup.build import build_task
from creditree.setup.defaults import chosen
from creditree.setup.problems import check_problems
from creditree.setup.resolve import resolve
from creditree.setup.start import started


@dataclass(frozen=True, eq=False, slots=True)
class BeforeTraining:
    """What is known of a configuration; `left_out`: a sentence for each part that could not be looked at."""

    case: Case
    room: MemoryFit | None
    rehearsal: Rehearsal | None
    left_out: tuple[str, ...]


def case_of_config(config: RunConfig, host: Host, watcher: Watcher, *, probe: bool) -> BeforeTraining:
    """Return what can be known of a configuration without a model, and with `probe` what its first steps do.

    Where the run surely does not fit the memory, nothing is loaded. Raises what training would raise for a
    configuration, problems or a model that cannot be used.
    """
    left_out: list[str] = []
    planned, _ = chosen(started(config, offline=True), offline=True)
    check_problems(planned, offline=True)
    room = attempted(lambda: room_of(planned), "the memory that it needs", left_out)
    task = build_task(planned.task)
    task.held_out(planned.evaluation.split, 1)
    case = Case(host=host, config=planned, room=room, task=task, texts=texts_of(planned, left_out))
    if room is not None and (fits := memory(case)) is not None and fits.severity == "problem":
        left_out.append("no step was tried: the run does not fit the memory")
        return BeforeTraining(case, room, None, tuple(left_out))
    if not probe:
        left_out.append("no step was tried: it was not asked for")
        return BeforeTraining(case, room, None, tuple(left_out))
    resolved = resolve(config)
    if resolved.config.warm_start.steps:
        left_out.append("the warm start was left out of the probe: what is said of completions is from before it")
    watcher.message("trying the first steps, of a few problems; nothing is written")
    rehearsal = rehearse(resolved, watcher)
    left_out += [] if rehearsal.doubt is None else [rehearsal.doubt]
    whole = Case(
        host=host,
        config=resolved.config,
        room=room,
        task=resolved.task,
        texts=case.texts or texts_of(resolved.config, []),
        records=rehearsal.records,
        completions=rehearsal.completions,
        adapter_size=rehearsal.adapter_size,
    )
    return BeforeTraining(whole, room, rehearsal, tuple(left_out))
