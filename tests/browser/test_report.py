"""The report in a browser: drawn without a complaint, trees that open, and text that stays text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from creditree.measure.report import report
from creditree.overview.run import MOST_TOKENS
from tests.browser.conftest import DESKTOP, PHONE, Opened
from tests.stored_run import HOSTILE, stored_run


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(stored_run(tmp_path_factory.mktemp("report") / "run")).page


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Opened]:
    page = Opened(browser.new_context(viewport=DESKTOP, color_scheme="light").new_page(), file.as_uri())
    yield page
    page.close()


def test_charts_are_drawn_and_a_tree_opens_with_a_tooltip_of_each_token(opened: Opened) -> None:
    page = opened.page
    charts = page.locator("figure svg.chart")
    assert charts.count() >= 8
    box = charts.first.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert page.locator(".forest").count() == 0
    opened.open_problem()
    assert page.locator("svg.tree .seg").count() == 6
    token = page.locator(".leaf").first.locator(".t").first
    token.hover()
    tip = page.locator("#tip")
    for part in ("advantage -0.5", "weight 0.25 (selected)", "entropy 0.1"):
        expect(tip).to_contain_text(part)
    assert page.locator(".map").count() == 3  # of the completion whose influence is known, and of its forks
    assert "was forked before token 3" in page.locator(".forest li").first.text_content()  # type: ignore[operator]
    opened.keep("report-light")


def test_attention_from_step_to_step_is_drawn(opened: Opened) -> None:
    """Three weights and three sums (.375, .5 and 0); the second step, which others branch at, is framed."""
    page = opened.page
    opened.open_problem()
    picture = page.locator("svg.attention")
    assert picture.count() == 1  # of the first completion
    cells = picture.locator(".cell")
    assert [cells.nth(place).get_attribute("fill-opacity") for place in range(3)] == ["0.525", "0.287", "1.000"]
    assert cells.count() == 6
    assert picture.locator(".branched").count() == 1
    for name in ("step that is attended to (0: the prompt)", "step that attends"):
        assert picture.get_by_text(name, exact=True).is_visible()
    cells.nth(2).hover()
    tip = page.locator("#tip")
    said = "step 2 (tokens 3 to 4)\nattends to step 1 (tokens 1 to 2)\nby 0.5 a pair of tokens"
    expect(tip).to_have_text(said)
    cells.nth(4).hover()
    expect(tip).to_have_text("influence of step 1 (tokens 1 to 2): 0.5\nthe sum of its column")
    page.get_by_label("selected only").first.check()
    expect(page.locator(".leaf").first.locator(".t.dim")).not_to_have_count(0)
    assert picture.count() == 1
    opened.keep("report-attention")


def test_a_script_in_a_completion_stays_text(opened: Opened) -> None:
    page = opened.page
    for problem in page.locator("details.problem > summary").all():
        problem.click()
    assert HOSTILE in page.locator(".leaf .heat").first.inner_text()
    assert page.evaluate("window.stolen") is None
    assert page.locator("body script").count() == 2  # the data and the page's own


def test_tokens_can_be_coloured_and_picked_out(opened: Opened) -> None:
    page = opened.page
    opened.open_problem()
    leaf = page.locator(".leaf").first
    token = leaf.locator(".t").nth(1)
    before = token.get_attribute("style")
    assert before is not None
    page.get_by_label("colour by").first.select_option("s")
    expect(token).not_to_have_attribute("style", before)
    clear = leaf.locator(".t:not(.dim)")
    expect(clear).to_have_count(4)
    page.get_by_label("selected only").first.check()
    expect(clear).to_have_count(1)
    assert leaf.locator(".t").first.evaluate("t => !t.classList.contains('dim')")
    page.get_by_label("selected only").first.uncheck()
    expect(clear).to_have_count(4)
    page.get_by_label("token text").first.fill("three")
    expect(clear).to_have_text([" three"])


def test_a_box_of_the_tree_leads_to_its_text(opened: Opened) -> None:
    page = opened.page
    opened.open_problem()
    page.locator("svg.tree .seg").nth(2).click()
    chosen = page.locator(".leaf.chosen")
    expect(chosen.locator("header b")).to_have_text("completion 3")
    expect(chosen.locator(".t.at")).to_have_text([" five\n"])


@pytest.mark.parametrize(("name", "size", "scheme"), [("phone", PHONE, "light"), ("dark", DESKTOP, "dark")])
def test_a_phone_and_the_dark(
    browser: Browser, file: Path, name: str, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    opened = Opened(browser.new_context(viewport=size, color_scheme=scheme).new_page(), file.as_uri())
    page = opened.page
    opened.open_problem()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(251, 251, 252)") == (scheme == "light")
    opened.keep(f"report-{name}")
    opened.close()


def test_several_runs_side_by_side(browser: Browser, tmp_path: Path) -> None:
    runs = [
        stored_run(tmp_path / f"{method}-{seed}", method=method, seed=seed)
        for method in ("t-spmo", "grpo")
        for seed in (0, 1)
    ]
    file = report(*runs, out=tmp_path / "both.html").page
    assert file.stat().st_size < 5_000_000
    opened = Opened(browser.new_context(viewport=DESKTOP).new_page(), file.as_uri())
    assert opened.page.locator("svg .band").count() > 0
    assert opened.page.locator("svg .line.s1").count() > 0
    opened.keep("report-several")
    opened.close()


def test_the_page_stays_small(tmp_path: Path) -> None:
    """40 bytes a token at most: what the limit of tokens in a page goes by."""
    with_trees = report(stored_run(tmp_path / "a", kept=tuple(range(1, 5)))).page.stat().st_size
    assert MOST_TOKENS * 40 < 5_000_000
    assert with_trees < 500_000
