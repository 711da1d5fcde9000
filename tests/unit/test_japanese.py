"""The Japanese pages have the commands, the code and the figures of the English ones."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAIRS = pytest.mark.parametrize(
    ("english", "japanese"), [("README.md", "README.ja.md"), ("docs/quickstart.md", "docs/ja/start.md")]
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_of(text: str) -> list[str]:
    return re.findall(r"^```\w+\n.*?^```", text, re.DOTALL | re.MULTILINE)


def figures_of(text: str) -> list[str]:
    """Return what is measured: numbers with a point or a percent sign outside code and links, in order."""
    prose = re.sub(
        r"`[^`]*`|\]\([^)]*\)|arXiv [\d.]+|\d{4}\.\d{5}|Qwen[\d.]+|Apache-2\.0",
        "",
        re.sub("```.*?```", "", text, flags=re.S),
    )
    return re.findall(r"\d*\.\d+|\d+ %", prose)


@PAIRS
def test_code_is_the_same(english: str, japanese: str) -> None:
    assert code_of(text_of(japanese)) == code_of(text_of(english))


def test_figures_are_the_same() -> None:
    assert figures_of(text_of("README.ja.md")) == figures_of(text_of("README.md"))
    assert len(figures_of(text_of("README.md"))) > 30


def test_methods_are_the_same() -> None:
    english, japanese = (
        re.findall(r"^\| (`[\w-]+`) \|", text_of(page), re.M) for page in ("README.md", "README.ja.md")
    )
    assert japanese == english


def test_figures_of_the_start_page_stand_in_its_output() -> None:
    page = text_of("docs/ja/start.md")
    (output,) = (code for code in code_of(page) if code.startswith("```text"))
    for figure in figures_of(page):
        assert figure in output or figure == "95 %", figure
