"""`creditree view` on a run of 100,000 completions: the first paint, and how long a filter takes, in real Chromium.

    python benchmarks/view.py [--completions 100000] [--tokens 200]

The run is made by hand (no model): `--completions` in groups of 50, with advantages, weights, log-probabilities and
texts of `--tokens` tokens each. Times are the browser's: from the request of the page to its first contentful paint,
while the steps are still being read, and from a change of the search to its answer on the page, once all are. One JSON
line, seconds, the median and the largest of several.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from playwright.sync_api import Page, sync_playwright

from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.runs.directory import RunDirectory
from creditree.runs.environment import describe_environment
from creditree.runs.rollouts import rollout_table
from creditree.tree import Branch, RolloutTree, token_array
from creditree.view.server import serving
from tests.browser.conftest import ARGUMENTS
from tests.stored_run import CONFIG, metrics

GROUP, PROBLEMS = 50, 4
WORDS = [f" word{number}" for number in range(1000)]
FILTERS = (
    ("text of the completion", "word123 word4"),
    ("reward from", "1"),
    ("a token with advantage ≥", "2.5"),
    ("problem or question", "problem 7"),
)


def make(path: Path, completions: int, tokens: int) -> None:
    """Write a run of so many completions."""
    with RunDirectory.create(path, CONFIG.format(seed=0, method="grpo")) as run:
        for step in range(1, completions // (GROUP * PROBLEMS) + 1):
            generator = Key.of(0).at(step).generator()
            forests, texts, advantages, weights = [], [], [], []
            for place in range(PROBLEMS):
                ids = generator.integers(0, len(WORDS), (GROUP, tokens))
                rewards = generator.integers(0, 2, GROUP)
                branches = tuple(_branch(row, float(reward)) for row, reward in zip(ids, rewards, strict=True))
                problem = Problem(f"p{step}-{place}", f"problem {step}, {place}", ("1",))
                forests.append((RolloutTree(problem, token_array([1, 2, 3]), branches=branches),))
                texts.append((tuple("".join(WORDS[token] for token in row) for row in ids),))
                advantages.append((tuple(generator.normal(size=tokens) for _ in branches),))
                weights.append((tuple(np.ones(tokens) for _ in branches),))
            table = rollout_table(
                step, forests, advantages, weights, texts, lambda ids: [WORDS[token] for token in ids]
            )
            run.append(metrics(step))
            run.write_rollouts(step, table)


def _branch(ids: np.ndarray, reward: float) -> Branch:
    logprobs = -np.ones(len(ids)) / (1 + ids)
    return Branch(None, 0, token_array(ids), logprobs, logprobs, "stop", Verdict(reward))


def first_paint(page: Page, address: str) -> float:
    """Return the seconds from the request to the first contentful paint."""
    page.goto(address)
    page.locator("figure svg").first.wait_for()
    return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")) / 1000


def filtered(page: Page, label: str, value: str) -> float:
    """Return the seconds from a change of the search to its answer on the page, the wait for more typing left out."""
    page.evaluate(
        """([label, value]) => {
          const field = document.querySelector(`[aria-label="${label}"]`);
          const said = document.getElementById("said");
          window.took = new Promise((resolve) => {
            const before = performance.now();
            const answered = (changes, observer) => { observer.disconnect(); resolve(performance.now() - before); };
            new MutationObserver(answered).observe(said, { childList: true });
          });
          field.value = value;
          field.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [label, value],
    )
    return float(page.evaluate("window.took")) / 1000 - 0.12


def main() -> None:
    """Make the run, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--completions", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        make(path, options.completions, options.tokens)
        size = sum(file.stat().st_size for file in path.rglob("*.parquet"))
        with serving(path, port=0) as server, sync_playwright() as playwright:
            begun = perf_counter()
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            paints = [first_paint(browser.new_page(), server.address) for _ in range(3)]
            page = browser.new_page()
            first_paint(page, server.address)
            page.locator("#progress").filter(has_text=f"{options.completions:,} completions").wait_for(timeout=600_000)
            read_s = perf_counter() - begun
            times = {}
            for label, value in FILTERS:
                times[label] = [filtered(page, label, text) for text in (value, "") * 3][::2]
            browser.close()
    every = [seconds for own in times.values() for seconds in own]
    print(
        json.dumps(
            {
                "benchmark": "view",
                "completions": options.completions,
                "tokens": options.tokens,
                "bytes": size,
                "first_paint_s": {"median": statistics.median(paints), "most": max(paints)},
                "filter_s": {"median": statistics.median(every), "most": max(every)},
                "by_filter_s": {label: statistics.median(own) for label, own in times.items()},
                "all_read_s": read_s,
                "environment": describe_environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
