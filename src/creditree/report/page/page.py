"""The report of runs as one HTML file that opens offline."""

import json
from collections.abc import Sequence

from creditree.errors import RunError
from creditree.evaluate.compare import Measured, pair_measured
from creditree.overview.overview import Overview
from creditree.overview.run import RunOverview
from creditree.overview.trees import ShownForest
from creditree.report.comparison import GROUP_HEADER, RUN_HEADER, group_rows, repeated_seeds, run_rows
from creditree.report.document import (
    Block,
    Bullets,
    Callout,
    Details,
    Heading,
    Paragraph,
    Rows,
    TreePlace,
    asset,
    to_html,
)
from creditree.report.page.figures import compared_bars, token_curves
from creditree.report.page.payload import heading, payloads
from creditree.report.page.sections import (
    changed,
    cost,
    course,
    drawings,
    result,
    signal,
    tiles,
    verdict,
    what_was_run,
)
from creditree.text import json_escaped

TREES = (
    "Each box is a run of tokens that the same completions share: to the right by depth, as high as the completions "
    "that go through it, coloured by the mean reward below it. Click one to see its text. Tokens are coloured by their "
    "advantage; point at one for its numbers."
)


def report_html(overview: Overview) -> str:
    """Return the report of one run, or of several side by side."""
    forests = [forest for run in overview.runs for forest in run.forests]
    blocks = _of_one(overview.runs[0]) if len(overview.runs) == 1 else _of_several(overview)
    notes = [note for run in overview.runs for note in run.notes] + list(overview.notes)
    blocks += [Heading("Notes"), Bullets(tuple(notes))] if notes else []
    return to_html(title_of(overview.runs), blocks, script(), embedded(payloads(forests)))


def script() -> str:
    """Return what a page runs: its parts one after the other."""
    return asset("steps.js") + asset("page.js")


def title_of(runs: Sequence[RunOverview]) -> str:
    """Return what a report is of."""
    if len(runs) == 1:
        return f"{runs[0].label} on {runs[0].task}"
    return f"{len(runs)} runs: {', '.join(dict.fromkeys(run.label for run in runs))}"


def embedded(value: object) -> str:
    r"""Return JSON that can stand inside an element: nothing in it ends one, as ``<`` is written ``\u003c``."""
    return json_escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"))).replace("<", "\\u003c")


def _of_one(run: RunOverview) -> list[Block]:
    return [
        Heading(title_of([run]), 1),
        Paragraph(f"{run.model} · {run.name}"),
        verdict(run),
        *tiles(run),
        *result(run),
        *what_was_run(run),
        *course([run]),
        *signal([run]),
        *cost(run),
        *changed(run),
        *trees(run.forests, 0),
    ]


def _of_several(overview: Overview) -> list[Block]:
    runs = overview.runs
    blocks: list[Block] = [Heading(title_of(runs), 1), Paragraph(" · ".join(dict.fromkeys(run.model for run in runs)))]
    blocks += _compared(overview)
    blocks += [*course(runs), *signal(runs)]
    tokens = drawings(token_curves(runs))
    blocks += [Heading("Tokens"), *tokens] if tokens else []
    first = 0
    for run in runs:
        parts = [verdict(run), *tiles(run), *result(run), *cost(run), *changed(run), *trees(run.forests, first)]
        blocks += [Heading(f"{run.label}: {run.name}"), Details("All of this run", (*parts, *what_was_run(run)))]
        first += len(run.forests)
    return blocks


def _compared(overview: Overview) -> list[Block]:
    measured, decoding = overview.measured, overview.decoding
    if not measured:
        return [Callout("Not all of these runs have ended: nothing is compared yet.")]
    groups = tuple(group_rows(measured, decoding))
    blocks: list[Block] = [Heading("Side by side")]
    blocks += drawings(compared_bars(overview))
    blocks.append(Rows(RUN_HEADER, tuple(run_rows(measured, decoding))))
    blocks += [Paragraph("Mean ± standard deviation over seeds:"), Rows(GROUP_HEADER, groups)] if groups else []
    blocks += [Paragraph(sentence) for sentence in repeated_seeds(measured)]
    return [*blocks, *_paired(measured, decoding)]


def _paired(measured: Sequence[Measured], decoding: str) -> list[Block]:
    """Return what may be concluded of every two, or why nothing: all else of the report is of single runs."""
    try:
        said = tuple(tested.pair.conclusion() for tested in pair_measured(measured, decoding))
    except RunError as error:
        return [Callout(f"Nothing is compared in pairs: {error}")]
    note = "Pairs are of the same problems on both sides: exact McNemar tests, p adjusted by Holm for their number."
    return [Paragraph(note), Bullets(said)] if said else []


def trees(forests: Sequence[ShownForest], first: int) -> list[Block]:
    """Return some problems' rollout trees, which the page's script draws; `first`: the place of the first."""
    drawn = [TreePlace(heading(forest), first + place) for place, forest in enumerate(forests)]
    return [Heading("Rollout trees"), Paragraph(TREES), *drawn] if drawn else []
