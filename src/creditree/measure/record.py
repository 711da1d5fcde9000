"""The record of an evaluation, as JSON."""

from typing import Any

from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation
from creditree.measure.measurement import Measurement
from creditree.measure.target import Job
from creditree.problem import fingerprint
from creditree.report.evaluation import average_entry, decoding_entry
from creditree.setup.grading import grading


def record_of(measurement: Measurement, evaluations: list[dict[str, dict[str, Evaluation]]]) -> dict[str, Any]:
    """Return the record: of one task, or of a suite with its average."""
    records = [
        _task_record(measurement, job, decodings) for job, decodings in zip(measurement.jobs, evaluations, strict=True)
    ]
    if measurement.options.suite is None:
        return records[0]
    average = {
        Sampling(temperature).name: average_entry(
            [decodings[Sampling(temperature).name] for decodings in evaluations], measurement.key
        )
        for temperature in measurement.temperatures
    }
    return {
        "target": measurement.options.target,
        "suite": measurement.options.suite,
        "seed": measurement.seed,
        "average": average,
        "tasks": {job.name: record for job, record in zip(measurement.jobs, records, strict=True)},
    }


def _task_record(measurement: Measurement, job: Job, decodings: dict[str, dict[str, Evaluation]]) -> dict[str, Any]:
    entries = {
        Sampling(t).name: decoding_entry(
            decodings[Sampling(t).name], measurement.ks(job, t), measurement.key, job.apart
        )
        for t in measurement.temperatures
    }
    return {
        "target": measurement.options.target,
        "task": job.name,
        "split": measurement.options.split,
        "n": len(job.problems),
        "seed": measurement.seed,
        "reward": job.config.reward.written,
        "grading": grading(job.config.reward),
        "max_new_tokens": job.max_new_tokens,
        "top_p": measurement.top_p,
        "data": {"source": job.source, "sha256": fingerprint(job.problems)},
        "also_in_training": job.also_in_training,
        "notes": list(job.notes),
        **next(iter(entries.values())),
        "decoding": entries,
    }
