"""The figures of docs/concepts.md show what the package computes, and the page says what the figures show."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from docs.figures.concepts import FOLDER, NUMBERS, numbers
from docs.figures.drawing import draw


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield everything that is no container, with its place."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{path}/{key}")
    else:
        yield path, value


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return found


def test_the_numbers_are_what_a_step_computes(committed: dict[str, Any]) -> None:
    # entropies are sums in float32, whose order differs between machines
    assert dict(leaves(numbers())) == pytest.approx(dict(leaves(committed)), abs=1e-3)


def test_the_pictures_are_drawn_from_them(committed: dict[str, Any], tmp_path: Any) -> None:
    draw(committed, tmp_path)
    for name in ("tree", "credit", "select", "objective"):
        drawn, kept = ((folder / f"{name}.svg").read_text(encoding="utf-8") for folder in (tmp_path, FOLDER))
        assert re.findall("<!-- .* -->", drawn) == re.findall("<!-- .* -->", kept)


def test_the_page_says_what_the_figures_show(committed: dict[str, Any]) -> None:
    page = " ".join((FOLDER.parent / "concepts.md").read_text(encoding="utf-8").split())
    tree, group = committed["tree"], committed["group"]
    total = sum(len(branch["tokens"]) for branch in group["branches"])
    assert f"{tree['question']}" in page
    for name, weights in group["weights"].items():
        learning = sum(weight > 0 for field in weights for weight in field or ())
        assert f"| `{name}` | {learning} of {total} |" in page
    for credit in ("group_relative", "prefix_gain"):
        assert f"{max(max(field) for field in group[credit]):.2f}" in page
    assert f"{max(max(field) for field in tree['process_value']):.2f}" in page
