"""`creditree grade` and `creditree verify-audit`."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from creditree.cli.options import JsonOption

GraderOption = Annotated[
    str, typer.Option("--grader", help="math, numeric, exact, choice, last_integer, program, or file.py:function.")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", min=0.01, help="Seconds for one answer (math, program), or for one call of a function."),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Processes; math and program.")]
RewardSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the grader, such as tolerance=1e-6."),
]


def grade(
    file: Annotated[Path, typer.Argument(help="Rows with prediction and answers (JSONL, CSV, parquet).")],
    grader: GraderOption = "math",
    deadline: DeadlineOption = None,
    workers: WorkersOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one verdict a line as JSON.")] = False,
    set_: RewardSetOption = None,
) -> None:
    """Grade the predictions of a file."""
    from creditree.cli.output import print_line, print_text
    from creditree.measure.grade import GradeRequest, Grades, check_concluded, graded, grades_text, verdict_json

    begun, verdicts = perf_counter(), []
    for name, verdict in graded(GradeRequest(file, grader, deadline, workers, tuple(set_ or ()))):
        verdicts.append((name, verdict))
        if json:
            print_line(verdict_json(name, verdict))
    grades = Grades(grader, tuple(verdicts), perf_counter() - begun)
    if not json:
        print_text(grades_text(grades))
    check_concluded(grades.why_inconclusive)


def verify_audit(
    file: Annotated[Path, typer.Argument(help="Rows with prediction, answers and label (JSONL, CSV, parquet).")],
    grader: GraderOption = "math",
    deadline: DeadlineOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
    set_: RewardSetOption = None,
) -> None:
    """Compare a grader with labels: agreement, false positives and negatives, asymmetries, timeouts."""
    from creditree.cli.output import print_json, print_text
    from creditree.measure.grade import GradeRequest, audit_json, audit_text, audited, check_concluded

    audit = audited(GradeRequest(file, grader, deadline, workers, tuple(set_ or ())))
    if json:
        print_json(audit_json(audit, grader))
    else:
        print_text(audit_text(audit, grader))
    check_concluded(audit.why_inconclusive)
