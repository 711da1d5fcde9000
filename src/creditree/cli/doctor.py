"""`creditree doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from creditree.cli.options import JsonOption, SetOption
from creditree.engines.native.library import prepare

ILL = 1
"""Exit code where a problem was found."""


def doctor(
    subject: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG|RUN]", help="Configuration (YAML) or run directory; default: this machine."),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Try the first steps of a configuration: up to a minute.")
    ] = True,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Say what is wrong with this machine, a configuration or a run: with evidence, and what to do about it.

    Exit code: 0 nothing but notes, 1 problems were found, 2 a mistake, 130 interrupted.
    """
    prepare()
    from creditree.cli.output import console, print_json, quiet_libraries, shown
    from creditree.cli.words import in_options
    from creditree.doctor.call import doctor as examined
    from creditree.doctor.request import DoctorRequest
    from creditree.report.doctor import doctor_view

    quiet_libraries()
    checkup = examined(DoctorRequest(subject, tuple(set_ or ()), probe), shown(stderr=True))
    record = checkup.to_json()
    if json:
        print_json(record)
    else:
        console().print(doctor_view(record, in_options), soft_wrap=True)
    if not checkup.healthy:
        raise typer.Exit(ILL)
