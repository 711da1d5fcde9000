"""`creditree methods` and `creditree show`."""

from inspect import cleandoc
from pathlib import Path

from rich.console import Console
from rich.text import Text

from creditree.cli.output import console, print_json
from creditree.config.load import dump_config, load_config
from creditree.config.reward import OPTIONS, RewardBlock, reward_of
from creditree.config.schema import RunConfig
from creditree.disk import is_file
from creditree.errors import ConfigError, did_you_mean
from creditree.methods import METHODS, Method
from creditree.piece import Piece
from creditree.pieces import PIECES
from creditree.report.methods import KINDS, piece_record
from creditree.rewards import READY, Reward
from creditree.setup.described import example_of, method_record, piece_text, wordings
from creditree.setup.grading import grading


def methods_command(*, as_json: bool) -> None:
    """List the named methods."""
    records = [method_record(make()) for make in METHODS.values()]
    if as_json:
        pieces = {axis: [piece_record(kind) for kind in known.values()] for axis, known in KINDS.items()}
        print_json({"methods": records, "pieces": pieces})
        return
    out = console()
    for record in records:
        out.print(Text.assemble((record["name"], "bold"), f"  ({record['paper']})"))
        for axis in PIECES:
            out.print(f"  {axis:9}  {record[axis]}", soft_wrap=True)
    out.print(Text.assemble(("\nall pieces", "bold"), " (--set method.AXIS=NAME, or FILE.py:Name for one of your own)"))
    for axis, known in KINDS.items():
        out.print(f"  {axis:9}  {', '.join(known)}", soft_wrap=True)


def show_command(name: str, *, as_json: bool) -> None:
    """Show one method, or one configuration."""
    if name in METHODS:
        _show_method(METHODS[name](), as_json=as_json)
    elif name.endswith((".yaml", ".yml")) or is_file(name):
        _show_config(load_config(Path(name)), as_json=as_json)
    elif name in OPTIONS:
        _show_grader(name, as_json=as_json)
    elif name in READY:
        _show_ready(READY[name](), as_json=as_json)
    else:
        known = [*METHODS, *OPTIONS, *READY]
        raise ConfigError(f"'{name}' is no method, no grader and no configuration file.{did_you_mean(name, known)}")


def _show_grader(name: str, *, as_json: bool) -> None:
    """Show what decides a grader's verdicts, and the options that change it."""
    needed = {"allow_execution": True} if name == "program" else {}
    block = reward_of({"name": name, **needed})
    options = {option: RewardBlock.model_fields[option].description for option in OPTIONS[name]}
    if as_json:
        print_json({"grading": grading(block), "options": options})
        return
    out = console()
    _print_grading(out, block)
    for option, text in options.items():
        out.print(f"  reward.{option}: {text}", soft_wrap=True)
    out.print(
        f"\nUse it: creditree train CONFIG.yaml --set reward={name}, or creditree grade FILE.jsonl --grader {name}"
    )


def _show_ready(reward: Reward, *, as_json: bool) -> None:
    """Show what a ready reward gives, and its numbers."""
    if as_json:
        print_json(piece_record(type(reward)))
        return
    _print_piece(console(), "reward", reward)


def _print_grading(out: Console, reward: RewardBlock) -> None:
    rules = grading(reward)
    out.print(Text(f"grading: {rules.pop('grader')}", "bold"))
    for rule, value in rules.items():
        out.print(f"  {rule}: {value}", soft_wrap=True)


def _show_method(method: Method, *, as_json: bool) -> None:
    prompts = wordings()
    if as_json:
        print_json(method_record(method) | {"prompts": prompts})
        return
    out = console()
    _print_method(out, method)
    out.print(Text.assemble(("\nprompt wording", "bold"), " (task.prompt.text changes it)"))
    for task, text in prompts.items():
        out.print(f"  {task}: {text!r}", soft_wrap=True)
    out.print(f"\nStart from it: creditree train CONFIG.yaml --run runs/{method.name} --set method.name={method.name}")


def _print_method(out: Console, method: Method) -> None:
    out.print(Text.assemble((method.name, "bold"), f"  ({method.paper})\n"))
    for axis in PIECES:
        _print_piece(out, axis, getattr(method, axis))


def _print_piece(out: Console, axis: str, piece: Piece) -> None:
    out.print(Text.assemble((axis, "bold"), f": {piece_text(piece)}"), soft_wrap=True)
    for line in cleandoc(type(piece).__doc__ or "").splitlines():
        out.print(Text(f"    {line}"), soft_wrap=True)


def _show_config(config: RunConfig, *, as_json: bool) -> None:
    method = config.method.build()
    example = example_of(config)
    if as_json:
        print_json({"method": method_record(method), "example": example, "grading": grading(config.reward)})
        return
    out = console()
    _print_method(out, method)
    out.print(Text("\nan example from the test split", "bold"))
    for key, value in example.items():
        out.print(f"  {key}: {value!r}", soft_wrap=True)
    out.print()
    _print_grading(out, config.reward)
    out.print(Text("\nconfiguration", "bold"))
    out.print(dump_config(config))
