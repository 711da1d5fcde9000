"""The tables of verdicts in docs/verification.md are what the graders say."""

import pytest

from benchmarks.verdicts import DOCUMENT, ROWS, Row, Section, code, sections, tables, written


@pytest.mark.thorough
def test_the_committed_tables_are_what_the_script_writes() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert written(document, tables(sections(ROWS.read_text(encoding="utf-8")))) == document


def test_rows_and_sections_are_read() -> None:
    (found,) = sections("# words\n[one] exact choice\n+ || a \\n b || c\n\n- || d || e\n")
    assert found == Section("one", ("exact", "choice"), (Row(True, "a \\n b", "c"), Row(False, "d", "e")))
    with pytest.raises(ValueError, match="line 2 is no row"):
        sections("[one] exact\n+ || a\n")


def test_a_table_shows_what_was_judged() -> None:
    made = tables(sections("[one] exact last_integer\n+ || x \\n 5 || 5\n- || y || 5\n+ || z || z\n"))
    assert made["one"].splitlines() == [
        "| completion | accepted answer | `exact` | `last_integer` |",
        "| --- | --- | --- | --- |",
        "| `x ↵ 5` | `5` | right | right |",
        "| `y` | `5` | wrong | no answer |",
        "| `z` | `z` | right | no reward |",
    ]


def test_only_what_is_judged_otherwise_is_doubtful() -> None:
    made = tables(sections("[doubtful] exact\n+ || a || b\n- || c || c\n+ || d || d\n- || e || f\n"))
    assert made["refused"].splitlines()[2:] == ["| `a` | `b` |"]
    assert made["accepted"].splitlines()[2:] == ["| `c` | `c` |"]


def test_a_table_needs_its_place() -> None:
    text = written("<!-- verdicts x -->\nold\n<!-- end of verdicts x -->\nrest", {"x": "new\n"})
    assert text == "<!-- verdicts x -->\n\nnew\n\n<!-- end of verdicts x -->\nrest"
    with pytest.raises(ValueError, match="no place for the table 'y'"):
        written(text, {"y": ""})
    assert code("`a|b`") == "`` `a\\|b` ``"
