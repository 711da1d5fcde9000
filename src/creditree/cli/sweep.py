"""`creditree sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import DecodingOption, JsonOption, SetOption, WorkersOption
from creditree.config.reading import read_yaml
from creditree.engines.native.library import prepare
from creditree.errors import RunError


def sweep(
    config: Annotated[
        Path, typer.Argument(help="YAML: base, and grid or cases with seeds, or a search: compositions, budget.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of the runs; the same command continues a stopped sweep.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all configurations and list the runs.")] = False,
    decoding: DecodingOption = None,
    workers: WorkersOption = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Train every combination of settings and seeds, or search compositions by successive halving, and compare."""
    read_yaml(config, "sweep")
    from creditree.cli.output import console, print_json, progress_console, quiet_libraries, shown
    from creditree.sweep.call import listed
    from creditree.sweep.call import sweep as swept
    from creditree.sweep.request import REPORT, RESULT, SweepRequest

    if dry_run or out is None:
        listing = listed(config, set_ or [], out)
        if not dry_run:
            raise RunError("creditree sweep needs a directory: add --out DIR, or --dry-run to look first.")
        if json:
            print_json(listing.record)
        else:
            console().print("\n".join(listing.lines), soft_wrap=True, markup=False)
        return
    prepare()
    quiet_libraries()
    result = swept(SweepRequest(config, out, decoding, tuple(set_ or ()), workers), shown(stderr=json))
    if json:
        print_json(result.to_json())
    elif (view := result.view()) is not None:
        progress = progress_console(stderr=False)
        progress.print(view)
        progress.print(f"\nSaved: figures in {out / RESULT}, tables in {out / REPORT}.")
    result.check()
