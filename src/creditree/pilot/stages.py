"""A pilot: the stages in their order, what is told meanwhile, and the report."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from creditree.config.reward import reward_of
from creditree.disk import content, is_file, is_folder
from creditree.errors import CreditreeError, DataError
from creditree.models.load import check_device
from creditree.pilot.base import Base, look_at_base
from creditree.pilot.data import check_data
from creditree.pilot.findings import Finding
from creditree.pilot.outlook import verdict
from creditree.pilot.record import PEAK, Peak, early_record, full_record, outlook_record, peak_so_far
from creditree.pilot.request import Request, check_overrides
from creditree.pilot.store import PilotDirectory
from creditree.pilot.training import planned, train_chosen, try_settings
from creditree.report.document import to_html, to_markdown
from creditree.report.pilot import pilot_blocks
from creditree.report.watcher import Watcher
from creditree.report.wording import duration, percent_interval
from creditree.runs.environment import content_digest
from creditree.setup.machine import usable_memory
from creditree.train.interrupt import continuing

REPORT = "report"
MARKS = {"note": "  ", "caution": "! ", "blocker": "x "}


@dataclass(frozen=True, eq=False, slots=True)
class Piloted:
    """What a pilot found. `record` is all of it, as JSON; the report of one page lies in `directory`."""

    record: Mapping[str, Any]
    directory: Path

    @property
    def recommendation(self) -> str:
        """What to do, in a sentence or two."""
        return str(self.record["recommendation"]["text"])

    @property
    def decision(self) -> str:
        """The same in a word."""
        return str(self.record["recommendation"]["decision"])

    def to_json(self) -> dict[str, Any]:
        """Return all that was found."""
        return dict(self.record)


def pilot(request: Request, watcher: Watcher) -> Piloted:
    """Check, look, try, train, measure and report; what is done already is read, not done again.

    Raises ConfigError, DataError, ModelError or RunError, and Interrupted where a signal stopped it: the same request
    goes on.
    """
    check_device(request.device)
    check_overrides(request.overrides)
    settings = yaml.safe_dump(_settings(request), sort_keys=False, allow_unicode=True, width=120)
    with PilotDirectory.open(request.out, settings) as directory:
        request = _with_memory(request, directory)
        try:
            with continuing(f"what is done is kept in {directory.path}: repeat the command to continue"):
                record = _run(request, directory, watcher)
        except BaseException:
            with suppress(CreditreeError):  # what went wrong first is what is to be told
                _keep_peak(request, directory)
            raise
        _keep_peak(request, directory)
        if not directory.has(REPORT):
            _write_report(directory, record)
    return Piloted(record, request.out)


@dataclass(frozen=True, slots=True)
class _Reported:
    """What the last lines of a pilot need of its report."""

    problems: str
    model: str
    recommendation: dict[str, str]
    risks: list[str]


def _reported(directory: PilotDirectory) -> dict[str, Any]:
    """Return the report of a pilot that has ended. Raises RunError for something else."""
    directory.read_as(REPORT, _Reported)
    return directory.read(REPORT)


def _keep_peak(request: Request, directory: PilotDirectory) -> None:
    directory.write(PEAK, asdict(Peak(peak_so_far(request.device, directory))))


def _run(request: Request, directory: PilotDirectory, watcher: Watcher) -> dict[str, Any]:
    if directory.has(REPORT):
        return _reported(directory)
    with directory.stage("checking the problems"):
        data = check_data(request, directory)
        directory.write("checks", data.to_json())
    _show_findings(data.findings, watcher)
    watcher.message("\nlooking at the base model")
    with directory.stage("looking at the base model"):
        base = look_at_base(request, data, directory, watcher)
    kind, why = verdict(base.chosen, base.frame.group)
    _show_base(base, why, watcher)
    if kind == "solved" or (kind == "no_signal" and base.cold is None):
        return early_record(request, data, base, directory)
    course = planned(request, data, base, directory)
    with directory.stage("trials"):
        trials = try_settings(course, watcher)
    if trials:
        directory.write("outlook", outlook_record(base, course.timeline.test, trials))
        _show_wait(directory.read("outlook"), watcher)
    with directory.stage("training and test"):
        config, summary = train_chosen(course, trials, watcher)
    return full_record(course, trials, config, summary)


def _settings(request: Request) -> dict[str, Any]:
    """Return all that the pilot's results depend on: it is continued only under the same."""
    values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(request).items()}
    del values["out"], values["spelled"]
    if not request.memory:
        del values["memory"]
    digests = {"problems_sha256": _digest(request.problems)}
    if request.guard is not None:
        digests["guard_sha256"] = _digest(request.guard)
    names = () if request.reward is None else reward_of({"name": request.reward}).names
    files = [file for name in names if (file := Path(name.rpartition(":")[0])).suffix == ".py"]
    if files:
        digests["reward_sha256"] = " ".join(_digest(file, "reward") for file in files)
    if is_folder(request.model):
        digests["model_content"] = content_digest(Path(request.model))
    return values | {"metrics": list(request.metrics), "overrides": list(request.overrides)} | digests


def _digest(path: Path, what: str = "problem") -> str:
    try:
        return sha256(content(path)).hexdigest()
    except OSError as error:
        raise DataError(f"The {what} file {path} cannot be read ({error.strerror}): check the path.") from None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a pilot found at its start: bytes that may be used."""

    memory: int


def _with_memory(request: Request, directory: PilotDirectory) -> Request:
    """Return the request with the memory that is free at the start: a continued pilot plans with the same."""
    if request.memory:
        return request
    if not directory.has("machine"):
        directory.write("machine", asdict(Machine(usable_memory(request.device))))
    return replace(request, memory=directory.read_as("machine", Machine).memory)


def _show_findings(findings: tuple[Finding, ...], watcher: Watcher) -> None:
    for finding in findings:
        watcher.message(f"{MARKS[finding.severity]}{finding.sentence}")


def _show_base(base: Base, why: str, watcher: Watcher) -> None:
    for outlook in base.outlooks:
        first, best = ((estimate.value, estimate.interval) for estimate in (outlook.accuracy, outlook.best_of))
        watcher.message(
            f"  T={outlook.temperature:g}: pass@1 {percent_interval(*first)} %, "
            f"pass@{outlook.samples} {percent_interval(*best)} %"
        )
    watcher.message(f"{why[0].upper()}{why[1:]}.")
    if base.cold is not None:
        watcher.message(base.cold.text)


def _show_wait(outlook: dict[str, Any], watcher: Watcher) -> None:
    seconds, gain = outlook["seconds_to_detect"], outlook["detectable_gain"]
    if seconds is None or gain is None:
        return
    shown = "not known: the trials brought no gain" if seconds["expected"] is None else duration(seconds["expected"])
    watcher.message(f"\nA gain of {100 * gain:.0f} points can be seen on the test; until then: {shown}")


def _write_report(directory: PilotDirectory, record: dict[str, Any]) -> None:
    curve = directory.run / "reward.png"
    blocks = pilot_blocks(record, curve.read_bytes() if is_file(curve) else None)
    title = f"Pilot: {record['model']} on {Path(record['problems']).name}"
    directory.write_text("report.md", to_markdown(blocks))
    directory.write_text("report.html", to_html(title, blocks))
    directory.write(REPORT, record)
