"""Documents hold figures where they promise them, and choices follow from the raw files that they name."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

import creditree as ct
from creditree.methods import METHODS
from creditree.report.methods import page
from recipes.attnrl.cells import CHOSEN as PROCESS_RATES
from recipes.attnrl.cells import rates
from recipes.attnrl.report import best_rates, tuned
from recipes.tables import load, spread
from recipes.token_efficient_rl.cells import CHOSEN
from recipes.token_efficient_rl.grid import TRIED
from recipes.token_efficient_rl.selections import RATE, RATES

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "token_efficient_rl"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*/README.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_figure_is_left_to_fill_in(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text
    for name, content in re.findall(
        r"<!-- ([\w -]+?)(?:: made by report.py)? -->(.*?)<!-- end of \1 -->", text, re.DOTALL
    ):
        assert len(content.strip()) > 100, f"the section '{name}' is empty"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_are_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def prose(text: str) -> list[str]:
    """Return the lines that somebody wrote: no table, no code, nothing that a report makes."""
    text = re.sub(r"<!-- ([\w -]+?): made by [^\n]*? -->.*?<!-- end of \1 -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [line for line in text.splitlines() if not line.startswith(("|", "    "))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_wrapped_at_120(path: Path) -> None:
    assert [line for line in prose(path.read_text(encoding="utf-8")) if len(line) > 120] == []


def test_the_recipe_readme_is_what_its_report_writes() -> None:
    """Every final accuracy of the tuned runs stands in the README, as mean and spread of the raw files."""
    text = (RECIPE / "README.md").read_text(encoding="utf-8")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in sorted((RECIPE / "results").glob("tuned-*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["table"], record["name"]].append(record["final"]["T=0"])
    assert len(found) >= 9
    for (_, name), values in found.items():
        assert len(values) == 3
        assert f"| {name} | {spread(values)} |" in text


def test_the_tables_of_process_supervision_are_what_their_report_writes() -> None:
    folder = ROOT / "recipes" / "attnrl"
    text = (folder / "README.md").read_text(encoding="utf-8")
    found: dict[str, list[float]] = defaultdict(list)
    for path in sorted((folder / "results").glob("[mc]*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["name"]].append(record["final"]["T=0"])
    assert set(found) == set(PROCESS_RATES)
    for name, values in found.items():
        assert len(values) == 3
        assert f"| {name} | {spread(values)} |" in text


@pytest.mark.parametrize("task", CHOSEN)
def test_the_chosen_settings_were_the_best_on_the_validation_split(task: str) -> None:
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for path in (RECIPE / "results" / f"tuning-{task}").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        config = record["config"]
        keys = {
            "group": config["method"]["group"],
            "temperature": config["sampling"]["temperature"],
            "problems": config["train"]["problems_per_step"],
            "learning_rate": config["train"]["learning_rate"],
        }
        scores[config["method"]["name"]][TRIED.index(keys)] = record["final"]["T=0.3"]
    for method, index in CHOSEN[task].items():
        assert len(scores[method]) == len(TRIED)
        assert index == min(i for i, score in scores[method].items() if score == max(scores[method].values()))


@pytest.mark.parametrize("name", RATE)
def test_the_rates_of_the_selections_were_the_best_on_the_validation_split(name: str) -> None:
    scores: dict[float, float] = {}
    for path in (RECIPE / "results" / "tuning-selection").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["name"].startswith(f"{name} lr="):
            scores[record["config"]["train"]["learning_rate"]] = record["final"]["T=0.3"]
    if not scores:
        pytest.skip("the learning rates have not been tried yet")
    assert sorted(scores) == list(RATES)
    assert RATE[name] == min(rate for rate, score in scores.items() if score == max(scores.values()))


def test_the_rates_of_process_supervision_were_the_best_on_the_validation_split() -> None:
    found = load(ROOT / "recipes" / "attnrl" / "results")
    assert best_rates(found) == PROCESS_RATES
    for name in PROCESS_RATES:
        assert sorted(tuned(found, name)) == list(rates(name))


def test_the_figures_of_the_monitor_are_those_of_the_simulation() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    lines = (ROOT / "benchmarks" / "results" / "monitor.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    drops = defaultdict(list)
    for record in found:
        if "drop" in record:
            assert record["seen"] == record["lives"]
            assert record["mean"] <= record["problems_to_detect"]
            drops[record["drop"]].append(f"{record['mean']:.0f} ± {record['se']:.0f}")
    for drop, cells in drops.items():
        assert f"| {100 * (0.8 - drop):.0f} % | {' | '.join(cells)} |" in text
    for what, digits in (("false alarms", 2), ("baseline known", 1)):
        shares = [100 * record["share"] for record in found if record["what"] == what]
        assert max(shares) < 5
        # The smallest and largest share, rounded half up: 2.75 is written 2.8.
        low, high = (f"{share + 1e-9:.{digits}f}" for share in (min(shares), max(shares)))
        assert f"{low} to {high} %" in text


def test_the_figures_of_the_pilot_are_those_of_the_benchmark() -> None:
    lines = (ROOT / "benchmarks" / "results" / "pilot.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    pilots, placebos = ([one for one in found if one["what"] == what] for what in ("pilot", "placebo"))
    assert len(pilots) == len(placebos) == 3
    after = [f"{100 * one['result']['after']['value']:.1f}" for one in pilots]
    (before,) = {f"{100 * one['result']['before']['value']:.1f}" for one in found}
    text = " ".join((ROOT / "docs" / "pilot.md").read_text(encoding="utf-8").split())
    assert f"{before} % of {pilots[0]['result']['n']} test problems before" in text
    assert f"{after[0]}, {after[1]} and {after[2]} % after, p < 1e-9 each" in text
    assert all(one["result"]["difference"]["p_value"] < 1e-9 for one in pilots)
    assert all(one["result"]["difference"]["p_value"] == 1 and one["decision"] == "extend" for one in placebos)


def test_the_page_of_methods_is_what_the_classes_say() -> None:
    """``python -m creditree.report.methods > docs/methods.md`` makes it."""
    assert (ROOT / "docs" / "methods.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "papers").glob("*.md")), ids=lambda path: path.stem)
def test_what_a_paper_page_says_was_measured_stands_in_a_recipe(path: Path) -> None:
    recipes = " ".join(one.read_text(encoding="utf-8") for one in ROOT.glob("recipes/*/README.md"))
    for figure in re.findall(r"\.\d+ ± \.\d+", " ".join(path.read_text(encoding="utf-8").split())):
        assert figure in recipes, figure


def test_every_method_has_a_page() -> None:
    pages = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "papers").glob("*.md"))
    for name in METHODS:
        assert f"| `{name}` |" in pages, name


def test_the_reference_has_every_name_of_the_package() -> None:
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [name for name in ct.__all__ if not re.search(rf"(\.|`){name}\b", page)] == []
