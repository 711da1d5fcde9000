"""What an evaluation is to measure, and all that its results depend on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditree.config.overrides import named_keys
from creditree.disk import is_folder
from creditree.errors import ConfigError
from creditree.evaluate.suite import SUITES
from creditree.measure.target import EvaluationRequest, Job, find_jobs
from creditree.problem import fingerprint
from creditree.report.evaluation import BASE, MEASURED
from creditree.rng import Key
from creditree.runs.environment import content_digest

SINGLE, SEVERAL = (0.0, 0.3, 1.0), (0.6,)
"""Temperatures where none is named: for one completion a problem, and for several."""


@dataclass(frozen=True, eq=False, slots=True)
class Measurement:
    """Everything that is to be measured, before anything is loaded."""

    options: EvaluationRequest
    jobs: list[Job]
    trained: Path | None
    temperatures: tuple[float, ...]
    top_p: float

    @property
    def seed(self) -> int:
        """The seed of all jobs."""
        return self.jobs[0].config.seed

    @property
    def key(self) -> Key:
        """The key of all random numbers."""
        return Key.of(self.seed)

    @property
    def sides(self) -> tuple[str, ...]:
        """What is measured: the target, and where it was trained its base, if asked for."""
        return (MEASURED, BASE) if self.trained is not None and self.options.base else (MEASURED,)

    def samples(self, job: Job, temperature: float) -> int:
        """Return how many completions a problem gets."""
        return 1 if temperature == 0 else job.samples

    def ks(self, job: Job, temperature: float) -> tuple[int, ...]:
        """Return the k of pass@k and majority@k that so many completions allow."""
        samples = self.samples(job, temperature)
        wanted = (samples,) if self.options.ks is None else self.options.ks
        return tuple(sorted({1, *(k for k in wanted if k <= samples)}))

    @property
    def total(self) -> int:
        """Completions in all."""
        counts = (len(job.problems) * self.samples(job, t) for job in self.jobs for t in self.temperatures)
        return sum(counts) * len(self.sides)


def measurement_of(options: EvaluationRequest) -> Measurement:
    """Return what a request asks for. Raises ConfigError where its numbers do not fit together."""
    jobs, trained = find_jobs(options)
    samples = max(job.samples for job in jobs)
    suite = None if options.suite is None else SUITES[options.suite]
    usual = (suite.temperature,) if suite is not None else SINGLE if samples == 1 else SEVERAL
    temperatures = options.temperatures or usual
    top_p = jobs[0].config.sampling.top_p
    if suite is not None and "sampling.top_p" not in named_keys(options.overrides):
        top_p = suite.top_p
    most = samples if any(temperatures) else 1
    for k in options.ks or ():
        if k > most and any(temperatures):
            raise ConfigError(
                f"`k` {k} needs as many completions of a problem, and `samples` is {most}; raise `samples`."
            )
        if k > most:
            also = "" if samples >= k else f", and `samples` to {k} or more"
            raise ConfigError(
                f"`k` {k} needs as many completions of a problem, and greedy decoding (`temperatures` 0) gives one; "
                f"set `temperatures` to more than 0, such as 0.6{also}."
            )
    return Measurement(options, jobs, trained, tuple(dict.fromkeys(temperatures)), top_p)


def settings_of(measurement: Measurement) -> dict[str, Any]:
    """Return all that the results depend on: a saved evaluation is continued only under the same."""
    config = measurement.jobs[0].config
    model = config.model.model_dump(mode="json")
    folder = Path(config.model.name)
    return {
        "trained": None if measurement.trained is None else content_digest(measurement.trained),
        "model": model | ({"content": content_digest(folder)} if is_folder(folder) else {}),
        **({"engine": config.engine.model_dump(mode="json")} if config.engine.is_remote else {}),
        "seed": measurement.seed,
        "split": measurement.options.split,
        "temperatures": [float(temperature) for temperature in measurement.temperatures],
        "top_p": measurement.top_p,
        "base": BASE in measurement.sides,
        "suite": measurement.options.suite,
        "tasks": {
            job.name: {
                "problems": len(job.problems),
                "sha256": fingerprint(job.problems),
                "samples": job.samples,
                "max_new_tokens": job.max_new_tokens,
                "reward": job.config.reward.written,
                "prompt": {
                    "text": job.task.prompt.text,
                    "chat": job.task.prompt.chat,
                    "system": job.task.prompt.system,
                },
            }
            for job in measurement.jobs
        },
    }
