"""A task from a Python function that yields problems: ``(question, answers)``, or rows with columns."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from creditree.errors import ConfigError, DataError
from creditree.tasks.cells import check_values, plain_value
from creditree.tasks.rows import Row
from creditree.tasks.table import Columns, Conflicts, Table, marked, table_of
from creditree.tasks.task import PromptTemplate
from creditree.text import shown
from creditree.user_code import described, load


def function_task(
    location: str,
    most: int = 10_000,
    *,
    columns: Columns = Columns(),
    validation: float = 0.1,
    test: float = 0.1,
    conflicts: Conflicts = "error",
    prompt: PromptTemplate = PromptTemplate(),
) -> Table:
    """Return the first `most` problems that the function at ``path/to/file.py:function`` yields, all if it ends before.

    It is called without arguments, once, in this process. It yields pairs of a question and its answer (a text, a
    number or a list of accepted ones), or mappings of columns, of which `columns` names the question and the answer;
    whatever else a row holds, reward functions and the prompt may use. The held-out splits are shares by a hash of the
    question, or what a column of rows says, as of a file. It has to yield the same problems each time, which a run that
    goes on checks. Raises ConfigError where there is no such function, and DataError for what it raises, or yields in
    the wrong form.
    """
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test <= 1):
        raise ConfigError(
            f"The shares validation={validation} and test={test} must each be from 0 to 1 and sum to at most 1."
        )
    name = location.rpartition(":")[2]
    rows = list(islice(_rows(location, name, columns), most))
    if not rows:
        raise DataError(f"The task '{location}' yields no problem: a set needs at least one.")
    shares = MappingProxyType({"validation": validation, "test": test})
    placed = [(marked(row, columns) or "training", row) for row in rows]
    return table_of(name, placed, columns=columns, shares=shares, conflicts=conflicts, prompt=prompt)


def _rows(location: str, name: str, columns: Columns) -> Iterator[Row]:
    function = load(location, "task", "function")
    if not callable(function):
        raise ConfigError(
            f"The task '{location}' is a {type(function).__name__}, not a function: name one without arguments that "
            "yields (question, answers)."
        )
    number = 0
    try:
        returned = function()
        if isinstance(returned, str | bytes | Mapping) or not isinstance(returned, Iterable):
            raise ConfigError(
                f"The task '{location}' returns {shown(returned)}: it has to yield (question, answers), or return a "
                "list of them."
            )
        for number, problem in enumerate(returned, 1):
            yield _row(problem, f"{name}-{number}", f"problem {number} of task '{location}'", columns)
    except (ConfigError, DataError):
        raise
    except (Exception, SystemExit) as error:  # one that leaves would end the program with its own exit code
        where = f"after {number} problems" if number else "before its first problem"
        raise DataError(f"The task '{location}' raised {described(error)} {where}: mend the function.") from error


def _row(problem: object, label: str, place: str, columns: Columns) -> Row:
    if isinstance(problem, Mapping):
        values = {str(key): plain_value(value) for key, value in problem.items()}
    elif isinstance(problem, tuple | list) and len(problem) == 2:
        values = {columns.question: problem[0], columns.answer or "answer": plain_value(_listed(problem[1]))}
    else:
        raise DataError(
            f"{place[0].upper()}{place[1:]} is {shown(problem)}: yield a pair (question, answers), or a mapping of "
            "columns."
        )
    check_values(values, f"{place[0].upper()}{place[1:]}")
    return Row(label, place, values)


def _listed(answers: object) -> object:
    return list(answers) if isinstance(answers, tuple) else answers
