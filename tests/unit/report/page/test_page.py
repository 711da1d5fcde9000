"""The page: whole, small, and with nothing in it that a run's texts could start."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from creditree.measure.report import overview_of_runs
from creditree.overview.overview import Overview
from creditree.report.page.page import embedded, report_html
from creditree.report.page.payload import fork_words, numbers
from tests.stored_run import HOSTILE, stored_run


class Scripts(HTMLParser):
    """Collects the scripts of a page, and where tags point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.points: list[str] = []
        self.words = ""
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")
        self.points += [str(value) for name, value in attrs if name in ("src", "href") or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.words += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run(tmp_path_factory.mktemp("page") / "run")


def page_of(*runs: Path) -> Scripts:
    return Scripts(report_html(overview_of_runs(runs)))


def test_a_page_has_all_parts_and_points_nowhere(run: Path) -> None:
    page = page_of(run)
    for part in (
        "Result",
        "What was run",
        "Learning curves",
        "Signal health",
        "What it cost",
        "Before and after",
        "Rollout trees",
    ):
        assert part in page.words, part
    assert "greedy: after is better: +40.0 points" in page.words
    assert page.points == []
    assert len(page.scripts) == 2
    assert HOSTILE in page.words  # of the example, as text


def test_runs_that_asked_other_questions_are_shown_and_not_compared(tmp_path: Path) -> None:
    first = stored_run(tmp_path / "a", kept=())
    page = page_of(first, stored_run(tmp_path / "b", kept=(), method="grpo", asked="product"))
    assert "Nothing is compared in pairs: a and b have different questions under the id 'q0' of sums" in page.words
    assert "Learning curves" in page.words
    same = page_of(first, stored_run(tmp_path / "c", kept=(), method="grpo"))
    assert "a and c are not distinguishable at n = 30" in same.words


def test_the_trees_are_data_in_which_nothing_ends_the_element(run: Path) -> None:
    data = page_of(run).scripts[0]
    assert "<" not in data
    forests = json.loads(data)
    assert [forest["step"] for forest in forests] == [20, 20, 10, 10]
    first = forests[0]["trees"][0]
    leaf = first["leaves"][0]
    assert HOSTILE in "".join(leaf["pieces"])
    assert leaf["a"] == [-0.5, -0.0833, 0.333, 0.75]
    assert leaf["w"] == [0.25, 0, 0, 0]
    assert leaf["m"] == {"ends": [2, 4], "delta": 1, "cells": [250_000, 125_000, 500_000]}
    assert "m" not in first["leaves"][1]
    assert leaf["verdict"] == "ok, 4 tokens drawn, ended by itself"
    assert first["order"] == [0, 2, 3, 1]
    assert first["leaves"][1]["reward"] is None
    assert "rank 1 of 4" in first["forks"][0]


def test_only_the_page_s_own_script_and_style_may_run(run: Path) -> None:
    text = report_html(overview_of_runs([run]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_control_characters_are_shown_not_obeyed() -> None:
    assert embedded({"a": "\x1b<\u202e"}) == '{"a":"\\u001b\\u003c\\u202e"}'


def test_a_run_that_still_trains_says_so(tmp_path: Path) -> None:
    page = page_of(stored_run(tmp_path, ended=False, steps=7))
    assert "Not ended: step 7 of 20. Nothing is concluded yet." in page.words
    assert "Result" not in page.words


def test_a_run_without_a_step_has_a_page(tmp_path: Path) -> None:
    assert "Not ended: step 0 of 20" in page_of(stored_run(tmp_path, ended=False, steps=0, kept=())).words


def test_several_runs_are_compared_in_pairs_and_seeds_averaged(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / f"t{seed}", seed=seed) for seed in (0, 1)]
    runs.append(stored_run(tmp_path / "grpo", method="grpo", seed=5))
    page = page_of(*runs)
    assert "Side by side" in page.words
    # 15 and 20 of 30 right: 5 gained, none lost, p = 2 / 2^5 = .0625, and three pairs.
    assert "are not distinguishable at n = 30: +16.7" in page.words
    assert "51.7 ± 2.4" in page.words  # a group of two seeds, 15 and 16 of 30: sd .0333 / sqrt 2 = .0236
    assert "t-spmo (2 seeds)" in page.words
    assert [forest["step"] for forest in json.loads(page.scripts[0])] == [20, 20, 10, 10] * 3


def test_runs_of_which_one_still_trains_are_not_compared(tmp_path: Path) -> None:
    page = page_of(stored_run(tmp_path / "a"), stored_run(tmp_path / "b", ended=False))
    assert "Not all of these runs have ended: nothing is compared yet." in page.words


def test_a_page_without_trees_has_no_script_to_run(tmp_path: Path) -> None:
    overview = overview_of_runs([stored_run(tmp_path, kept=())])
    assert "Rollout trees" not in report_html(Overview(overview.runs))


def test_numbers_are_short_and_one_where_all_are_equal() -> None:
    assert numbers(np.array([0.123456, 1e-9, 2.0])) == [0.123, 1e-9, 2]
    assert numbers(np.array([0.5, 0.5])) == 0.5
    assert numbers(np.array([np.nan, 1.0])) == [None, 1]
    assert numbers(None) is None


def test_a_fork_in_words(run: Path) -> None:
    (fork,) = overview_of_runs([run]).runs[0].forests[0].trees[0].forks
    words = fork_words(fork)
    assert words.startswith("completion 1 was forked before token 3 ' <script>window.")
    reasons = "entropy 1.5 (rank 1 of 4), surprisal 0.52 (rank 1 of 4), influence of its step (FCI) 0 (rank 2 of 2)"
    assert words.endswith(f"into 3, 4: {reasons}")
