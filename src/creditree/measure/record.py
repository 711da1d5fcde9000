"""The record of an evaluation, as JSON."""

from typing import Any

from creditree.engines.engine import Sampling
from creditree.evaluate.accuracy import Evaluation
from creditree.measure.measurement import Measurement
from creditree.measure.target import Job
from creditree.problem import fingerprint
from creditree.report.evaluation import average_entry, decoding_entry
from creditree.setup.grading import grading


def record_of(asked: Measurement, found: list[dict[str, dict[str, Evaluation]]]) -> dict[str, Any]:
    """Return the record: of one task, or of a suite with its average."""
    records = [_task_record(asked, job, decodings) for job, decodings in zip(asked.jobs, found, strict=True)]
    if asked.options.suite is None:
        return records[0]
    average = {
        Sampling(temperature).name: average_entry(
            [decodings[Sampling(temperature).name] for decodings in found], asked.key
        )
        for temperature in asked.temperatures
    }
    return {
        "target": asked.options.target,
        "suite": asked.options.suite,
        "seed": asked.seed,
        "average": average,
        "tasks": {job.name: record for job, record in zip(asked.jobs, records, strict=True)},
    }


def _task_record(asked: Measurement, job: Job, decodings: dict[str, dict[str, Evaluation]]) -> dict[str, Any]:
    entries = {
        Sampling(t).name: decoding_entry(decodings[Sampling(t).name], asked.ks(job, t), asked.key, job.apart)
        for t in asked.temperatures
    }
    return {
        "target": asked.options.target,
        "task": job.name,
        "split": asked.options.split,
        "n": len(job.problems),
        "seed": asked.seed,
        "reward": job.config.reward.written,
        "grading": grading(job.config.reward),
        "max_new_tokens": job.max_new_tokens,
        "top_p": asked.top_p,
        "data": {"source": job.source, "sha256": fingerprint(job.problems)},
        "notes": list(job.task.notes),
        **next(iter(entries.values())),
        "decoding": entries,
    }
