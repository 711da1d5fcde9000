"""What the command line prints is text, whatever models, data files and paths hold."""

import json

import pytest
from rich.console import Group
from rich.text import Text

from creditree.cli.output import console, print_json, print_text, progress_console
from creditree.report.wording import terminal_table

HOSTILE = "a[/b][red]c[/] :smile: \x1b[2J\x1b]0;title\x07\x9b1m\u202e\ud800"
SEEN = "a[/b][red]c[/] :smile: \\x1b[2J\\x1b]0;title"


@pytest.mark.parametrize("kind", ["sentence", "text", "group", "styled"])
def test_nothing_but_escapes_and_no_markup(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {
        "sentence": HOSTILE,
        "text": Text(HOSTILE),
        "group": Group(Text("x"), Text(HOSTILE)),
        "styled": Text.assemble(("x", "bold"), HOSTILE),
    }[kind]
    console().print(shown, soft_wrap=True)
    out = capsys.readouterr().out
    assert SEEN in out
    assert "\\u202e\\ud800" in out
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud800"} & set(out)


def test_cells_and_titles_of_tables_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress_console(stderr=True).print(
        terminal_table(HOSTILE, (HOSTILE, "b"), [(HOSTILE, "1"), ("c", "\x1b")]), width=400
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(SEEN) == 3
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud800"} & set(err)


def test_json_and_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: "ü"})
    out = capsys.readouterr().out
    assert json.loads(out) == {HOSTILE: "ü"}
    assert "ü" in out
    assert "\x9b" not in out
    print_text(HOSTILE)
    assert capsys.readouterr().out.startswith(SEEN)
