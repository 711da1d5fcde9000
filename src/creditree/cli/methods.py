"""`creditree methods`."""

from creditree.cli.options import JsonOption


def methods(json: JsonOption = False) -> None:
    """List the methods and what they are made of."""
    from creditree.cli.describe import methods_command

    methods_command(as_json=json)
