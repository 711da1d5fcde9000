"""The page of a run that is looked at while it trains: the report without trees, and a search over all of them."""

from functools import cache

from creditree.overview.run import RunOverview
from creditree.report.document import Block, Heading, PagePart, Paragraph, page_policy, to_fragment, to_html
from creditree.report.page.page import script, title_of
from creditree.report.page.sections import changed, cost, course, result, signal, tiles, verdict, what_was_run


def live_html(run: RunOverview) -> str:
    """Return the page, whose script asks the server for what is new."""
    blocks: list[Block] = [
        Heading(title_of([run]), 1),
        Paragraph(f"{run.model} · {run.name}"),
        PagePart("live", ()),
        PagePart("overview", tuple(_blocks(run))),
    ]
    return to_html(title_of([run]), blocks, script(), connect=True)


def fragment_html(run: RunOverview) -> str:
    """Return what of the page changes while the run trains."""
    return to_fragment(_blocks(run))


@cache
def live_policy() -> str:
    """Return what the server allows its pages."""
    return f"{page_policy(script(), connect=True)}; frame-ancestors 'none'"


def _blocks(run: RunOverview) -> list[Block]:
    return [
        verdict(run), *tiles(run), *result(run), *course([run]), *signal([run]), *cost(run), *changed(run),
        *what_was_run(run),
    ]  # fmt: skip
