"""`creditree monitor`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption, TrustOption

DEGRADED = 3
"""Exit code where degradation was shown."""


def monitor(
    adapter: Annotated[str, typer.Argument(help="Finished run, its adapter or model folder, or a folder with run/.")],
    fresh: Annotated[str, typer.Argument(help="Fresh problems with answers (JSONL, CSV, parquet).")],
    decoding: Annotated[
        str | None, typer.Option("--decoding", help="greedy, T=0.3, ...; default: the run's first.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", help="Drop that is tolerated, as a share such as 0.05.")] = 0.0,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance of ever raising a false alarm, at most.")] = 0.05,
    samples: Annotated[int, typer.Option("--samples", min=1, max=1000, help="Completions of each problem.")] = 1,
    problems: Annotated[
        int | None, typer.Option("--problems", min=1, max=10**6, help="At most this many new ones.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Measure the base model on the new problems, too.")] = False,
    stop_early: Annotated[bool, typer.Option("--stop-early", help="Measure no more once the alarm is raised.")] = False,
    state: Annotated[
        Path | None, typer.Option("--state", help="Directory of the observations; default: monitor/ in the run.")
    ] = None,
    trust_run: TrustOption = False,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as model.device=cuda.")
    ] = None,
) -> None:
    """Measure a trained adapter on fresh problems, and test whether its accuracy has fallen since it was trained.

    Call it as often as you like (cron): problems that were measured before are not counted again, and the chance of
    ever raising a false alarm is at most --alpha.

    Exit code: 0 no degradation shown, 3 degradation, 2 a mistake, 130 interrupted (repeat the command to go on).
    """
    from creditree.cli.output import console, print_json, quiet_libraries, shown
    from creditree.cli.stream import tell
    from creditree.monitor.baseline import MonitorRequest
    from creditree.monitor.call import monitor as monitored
    from creditree.report.monitor import monitor_view

    quiet_libraries()
    request = MonitorRequest(
        adapter, fresh, decoding, margin, alpha, samples, problems, base, stop_early, state, trust_run,
        tuple(set_ or ()),
    )  # fmt: skip
    result = monitored(request, shown(stderr=True))
    if result.edited:
        tell(result.edited)
    if json:
        print_json(result.to_json())
    else:
        console().print(monitor_view(result.record))
    if not result.degraded:
        return
    if not json:
        line = shlex.join(["creditree", "train", "--from", str(result.run), "--data", fresh])
        console().print(
            f"\nTry next:\n  {line} --guard GUARD.csv --run NEW    # train on, without forgetting GUARD.csv",
            soft_wrap=True,
        )
    raise typer.Exit(DEGRADED)
