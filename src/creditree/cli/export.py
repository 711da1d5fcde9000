"""`creditree export`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption


def export(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    merged: Annotated[
        Path | None, typer.Option("--merged", help="Directory to write the whole model to, as transformers loads it.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="Directory to write the adapter to, as PEFT loads it.")
    ] = None,
    gguf: Annotated[Path | None, typer.Option("--gguf", help="File to write, by llama.cpp's converter.")] = None,
    converter: Annotated[
        Path | None, typer.Option("--converter", help="convert_hf_to_gguf.py, where it is not on the path.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write what a run trained for other programs, with a model card; a whole model is verified first."""
    from creditree.cli.output import print_json, print_text, quiet_libraries, shown, tell_edited
    from creditree.export.call import export as exported
    from creditree.export.request import ExportRequest

    quiet_libraries()
    tell_edited(str(run))
    done = exported(ExportRequest(run, merged, adapter, gguf, converter), shown(stderr=True))
    if json:
        print_json(done.to_json())
    else:
        print_text(done.words())
