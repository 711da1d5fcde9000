"""A run that trains, in a browser: what is new appears, and completions are found."""

from pathlib import Path

from playwright.sync_api import Browser

from creditree.runs.directory import RunDirectory
from creditree.view.server import serving
from tests.browser.conftest import DESKTOP, Opened
from tests.stored_run import HOSTILE, metrics, stored_run, write_trees


def test_a_search_finds_opens_and_follows_the_run(browser: Browser, tmp_path: Path) -> None:
    path = stored_run(tmp_path / "run", ended=False, kept=(10,))
    with serving(path, port=0) as server:
        opened = Opened(browser.new_context(viewport=DESKTOP).new_page(), server.address)
        page, said = opened.page, opened.page.locator("#said")
        said.filter(has_text="7 of 7 completions").wait_for()
        assert page.locator("figure svg.chart").count() >= 8
        page.get_by_label("text of the completion").fill("<script>")
        said.filter(has_text="1 of 7 completions").wait_for()
        page.locator("tbody tr").filter(has_text="p-1").first.click()
        leaf = page.locator("#forest .leaf.chosen")
        leaf.wait_for()
        assert HOSTILE in leaf.locator(".heat").inner_text()
        assert page.evaluate("window.stolen") is None
        opened.keep("view-light")
        page.get_by_label("text of the completion").fill("")
        said.filter(has_text="7 of 7 completions").wait_for()
        with RunDirectory.resume(path, (path / "config.yaml").read_text()) as run:
            write_trees(run, 20)
            run.append(metrics(21))
        said.filter(has_text="14 of 14 completions").wait_for()
        page.locator("#overview .callout").filter(has_text="step 21 of 20").wait_for()
        page.get_by_label("reward from").fill("1")
        said.filter(has_text="8 of 14 completions").wait_for()
        opened.close()
