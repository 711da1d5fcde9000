"""A sweep's results: every run, mean and spread of the cases over seeds, and the cases in pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from creditree.errors import RunError
from creditree.evaluate.compare import Measured, Pair, shared_problems
from creditree.evaluate.scores import paired_change
from creditree.evaluate.seeds import mean_and_spread
from creditree.evaluate.statistics import Difference, holm
from creditree.evaluate.summary import Summary
from creditree.report.comparison import GROUP_HEADER, RUN_HEADER, group_rows, pair_json, run_rows
from creditree.report.wording import markdown_bullets, markdown_table, points, terminal_table
from creditree.rng import Key

NOTE = (
    "Cases in pairs: the share of seeds with which a problem is solved, problem by problem (one seed: exact McNemar "
    "test; several: sign-flip permutation), p by Holm. They speak of these seeds on these problems; the differences "
    "seed by seed say how far another seed may lie."
)


@dataclass(frozen=True, eq=False, slots=True)
class SweptRun:
    """A finished run of a sweep, with its summary; its `run.group` is the case."""

    run: Measured
    seed: int

    @property
    def summary(self) -> Summary:
        """What came of it."""
        assert self.run.summary is not None
        return self.run.summary

    @property
    def case(self) -> str:
        """The case that it is a run of."""
        return self.run.group


@dataclass(frozen=True, eq=False, slots=True)
class CasePair:
    """Two cases on the seeds and problems that both have: second - first, in all and seed by seed."""

    pair: Pair
    by_seed: Mapping[int, float]

    def conclusion(self) -> str:
        """Return one sentence: what may be concluded, and whether the seeds agree."""
        told = self.pair.conclusion()
        signs = {value > 0 for value in self.by_seed.values() if value != 0}
        seeds = ", ".join(points(value) for value in self.by_seed.values())
        if len(self.by_seed) == 1:
            return f"{told} One seed says little of the methods; run more."
        disagree = "; the seeds disagree in direction" if len(signs) > 1 else ""
        return f"{told} Seed by seed {seeds}{disagree}."

    def to_json(self) -> dict[str, Any]:
        """Return the pair as a sweep's record has it."""
        by_seed = {str(seed): value for seed, value in self.by_seed.items()}
        return pair_json(self.pair) | {"by_seed": by_seed, "conclusion": self.conclusion()}


def pair_cases(runs: Sequence[SweptRun], decoding: str) -> list[CasePair]:
    """Return every two cases of one task that share seeds and problems under `decoding`.

    Left out are those whose ids stand for different questions: `unpaired_cases` says which.
    """
    compared: list[tuple[str, str, Difference, dict[int, float]]] = []
    for first, second in combinations(_cases(runs), 2):
        old, new = _by_seed(runs, first, decoding), _by_seed(runs, second, decoding)
        seeds = [seed for seed in old if seed in new and old[seed][0] == new[seed][0]]
        if _conflict(runs, (first, second), decoding) is not None:
            continue
        problems = _common([table[seed][1] for table in (old, new) for seed in seeds])
        if not problems:
            continue
        shares = [[_mean([table[seed][1][name] for seed in seeds]) for name in problems] for table in (old, new)]
        change = paired_change(shares[0], shares[1], Key.of(0).at("sweep", first, second))
        moved = {s: _mean([new[s][1][name] - old[s][1][name] for name in problems]) for s in seeds}
        compared.append((first, second, change, moved))
    adjusted = holm([change.p_value for _, _, change, _ in compared])
    return [
        CasePair(Pair(first, second, change, p), moved)
        for (first, second, change, moved), p in zip(compared, adjusted, strict=True)
    ]


def unpaired_cases(runs: Sequence[SweptRun], decoding: str) -> list[str]:
    """Return a sentence on each pair of cases, and on each case, whose runs have different questions under one id."""
    sentences = []
    for first, second in combinations_with_replacement(_cases(runs), 2):
        conflict = _conflict(runs, (first, second), decoding)
        if conflict is not None and first == second:
            sentences.append(f"{first}: the runs differ in more than their seed. {conflict}")
        elif conflict is not None:
            sentences.append(f"{first} and {second} are not compared. {conflict}")
    return sentences


def _conflict(runs: Sequence[SweptRun], cases: Sequence[str], decoding: str) -> str | None:
    """Return why the problems of cases cannot be told apart by their ids, if so."""
    members = [run.run for run in runs if run.case in cases]
    try:
        for first, second in combinations(members, 2):
            for task in first.results.get(decoding, {}):
                shared_problems(first, second, decoding, task)
    except RunError as error:
        return str(error)
    return None


def sweep_json(runs: Sequence[SweptRun], decoding: str) -> dict[str, Any]:
    """Return the comparison for programs: cases with mean and spread over seeds, and their pairs."""
    return {
        "decoding": decoding,
        "cases": [_case_json([run for run in runs if run.case == case], decoding) for case in _cases(runs)],
        "pairs": [pair.to_json() for pair in pair_cases(runs, decoding)],
        "unpaired": unpaired_cases(runs, decoding),
    }


def sweep_view(runs: Sequence[SweptRun], decoding: str) -> RenderableType:
    """Return the comparison for the terminal."""
    compared = [run.run for run in runs]
    return Group(
        terminal_table(
            f"runs, {decoding}: accuracy in % (95 % interval)",
            RUN_HEADER,
            run_rows(compared, decoding, short=True),
            num_left=2,
        ),
        terminal_table("mean ± standard deviation over seeds", GROUP_HEADER, group_rows(compared, decoding)),
        *(Text(line) for line in _lines(runs, decoding)),
    )


def sweep_markdown(runs: Sequence[SweptRun], decoding: str) -> str:
    """Return the comparison as Markdown."""
    compared = [run.run for run in runs]
    parts = [
        f"Runs, {decoding}:\n",
        markdown_table(RUN_HEADER, run_rows(compared, decoding)),
        "Mean ± standard deviation over seeds:\n",
        markdown_table(GROUP_HEADER, group_rows(compared, decoding)),
        markdown_bullets(_lines(runs, decoding)),
    ]
    return "\n".join(parts)


def _lines(runs: Sequence[SweptRun], decoding: str) -> list[str]:
    pairs, unpaired = pair_cases(runs, decoding), unpaired_cases(runs, decoding)
    return [*([NOTE] if pairs else []), *(pair.conclusion() for pair in pairs), *unpaired]


def _cases(runs: Sequence[SweptRun]) -> list[str]:
    return list(dict.fromkeys(run.case for run in runs))


def _case_json(runs: Sequence[SweptRun], decoding: str) -> dict[str, Any]:
    figures = [run.summary.decoding[decoding] for run in runs if decoding in run.summary.decoding]
    return {
        "case": runs[0].case,
        "seeds": [run.seed for run in runs],
        "after": _spread_json([figure.after.value for figure in figures]),
        "gain": _spread_json([figure.difference.value for figure in figures]),
    }


def _spread_json(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    spread = mean_and_spread(values)
    return {"mean": spread.mean, "sd": spread.sd, "n": spread.n}


def _by_seed(runs: Sequence[SweptRun], case: str, decoding: str) -> dict[int, tuple[str, Mapping[str, float]]]:
    """Return task and 0/1 of each problem by seed, of the runs of a case that kept them."""
    return {
        run.seed: (task, {name: result.share for name, result in results.items()})
        for run in runs
        if run.case == case
        for task, results in run.run.results.get(decoding, {}).items()
    }


def _common(tables: Sequence[Mapping[str, float]]) -> list[str]:
    return [name for name in tables[0] if all(name in table for table in tables)] if tables else []


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
