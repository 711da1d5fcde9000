"""The page of dependencies is in step, and what asks more than our licence, or cannot be asked, is seen."""

import pytest

from checks.audit import FOUND, UNKNOWN, told
from checks.licences import Package, is_compatible, packages, page, problems


def test_the_page_is_in_step_and_every_licence_goes_with_ours() -> None:
    found = packages()
    assert problems(found) == []
    always = {one.name for one in found[""]}
    assert {"torch", "transformers", "PyYAML", "Jinja2"} <= always
    assert not {"pytest", "atheris", "pip_audit", "ray", "playwright"} & always


@pytest.mark.parametrize(
    ("licence", "fits"),
    [
        ("MIT", True),
        ("MIT AND Zlib", True),
        ("(GPL-3.0-only OR Apache-2.0)", True),
        ("MPL-2.0 AND MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND LGPL-2.1-only", False),
        ("AGPL-3.0", False),
        ("", False),
    ],
)
def test_which_licences_go_with_ours(licence: str, fits: bool) -> None:
    assert is_compatible(licence) == fits
    assert any("one is under" in said for said in problems({"": [Package("one", "1", licence)]})) != fits


def test_a_page_that_is_not_in_step_says_how_to_write_it() -> None:
    found = {"": [Package("one", "1", "MIT")], "quant": []}
    assert problems(found) == [
        "docs/dependencies.md is not in step: run python -m checks.licences > docs/dependencies.md."
    ]
    assert "| one | 1 | MIT |" in page(found)
    assert "## With the extra `quant`\n\nNot among the tested versions." in page(found)


def test_an_audit_that_asked_nobody_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"name": "a", "skip_reason": "not found"}
    sound = {"name": "b", "version": "1", "vulns": []}
    broken = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}, {"id": "CVE-2"}]}
    assert told([unknown]) == UNKNOWN
    assert "cannot be reached from here (not found): nothing was checked." in capsys.readouterr().out
    assert told([unknown, sound]) == 0
    assert told([sound, broken]) == FOUND
    out = capsys.readouterr().out
    assert "c 2: CVE-1, mended in 3\nc 2: CVE-2, not mended yet\n2 packages asked for, 1 of them" in out
    assert "Not known there: a." in out
