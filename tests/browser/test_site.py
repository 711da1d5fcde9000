"""The site of the documentation in a browser: from a folder, without a network, with a search that finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from playwright.sync_api import Browser, ViewportSize

from tests.browser.conftest import DESKTOP, PHONE, Opened

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120_000
"""Milliseconds: the index of the search is built in the page, which takes a while on a busy machine."""

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def opened(browser: Browser, site: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    viewport: ViewportSize = request.param
    page = Opened(browser.new_context(viewport=viewport).new_page(), (site / "concepts.html").as_uri())
    yield page
    page.close()


def test_pictures_are_drawn_and_nothing_is_wider_than_the_screen(opened: Opened) -> None:
    opened.keep(f"site-{opened.page.evaluate('innerWidth')}")
    sizes = opened.page.evaluate("[...document.querySelectorAll('article img')].map(one => one.naturalWidth)")
    assert len(sizes) == 4
    assert min(sizes) > 0
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_search_finds(browser: Browser, site: Path) -> None:
    opened = Opened(browser.new_context(viewport=DESKTOP).new_page(), (site / "index.html").as_uri())
    opened.page.locator("input.md-search__input").fill("branching pairs")
    found = opened.page.locator(".md-search-result__item h1")
    found.first.wait_for(timeout=PATIENCE)
    assert any("Methods and pieces" in text for text in found.all_inner_texts())
    opened.close()
