"""Whether a run has ended."""

from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis


def unfinished(case: Case) -> Diagnosis | None:
    """Has the run not ended, so that nothing was measured after training?"""
    if not case.is_run or case.summary is not None or case.config is None:
        return None
    step = case.records[-1]["step"] if case.records else 0
    steps = case.config.train.steps + case.config.warm_start.steps
    return Diagnosis(
        "unfinished",
        "note",
        f"The run has made {step:,} of {steps:,} steps, and has no summary: it was stopped, or it is still training. "
        "What is said here is of the steps so far.",
        {"step": step, "steps": steps},
        "Where nobody is training it, continue it with `resume` and the same configuration.",
    )
