"""docs/pilot.md, as a reader follows it: its script and its commands, in an empty directory."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.e2e.command import creditree, python

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pilot.md"
EXPECTED = {"creditree monitor pilots/words harder.csv --state monitors/harder": 3}


def blocks(language: str) -> list[str]:
    """Return the page's blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[str]:
    """Return the page's commands, without comments."""
    return [line.partition("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk")
    for block in blocks("python"):
        name = block.splitlines()[0].removeprefix("# ")
        (folder / name).write_text(block, encoding="utf-8")
    for command in commands():
        first, *rest = shlex.split(command)
        if first == "python":
            python(*rest, cwd=folder)
        else:
            assert first == "creditree"
            creditree(*rest, cwd=folder, code=EXPECTED.get(command, 0))
    return folder


class Balanced(HTMLParser):
    """Checks that every element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_commands_are_those_that_are_expected() -> None:
    assert set(EXPECTED) <= set(commands())
    assert [shlex.split(command)[:2] for command in commands()] == [
        ["python", "make_problems.py"],
        ["creditree", "pilot"],
        ["creditree", "monitor"],
        ["creditree", "monitor"],
        ["creditree", "train"],
    ]


@pytest.mark.thorough
def test_the_check_found_what_the_script_spoiled(walked: Path) -> None:
    record = json.loads((walked / "pilots/words/report.json").read_text())
    found = {one["kind"]: one["text"] for one in record["data"]["findings"]}
    assert found["unusable_rows"].startswith("rows left out because they hold no problem: 1 of 604")
    assert found["duplicates"] == "rows left out because they repeat a question: 1"
    assert found["conflicts"] == "questions left out because their rows have different answers: 1"
    assert "last_integer" in found["grader"]
    assert sum(record["data"]["sizes"].values()) == 600


@pytest.mark.thorough
def test_the_report_has_the_gain_and_its_evidence(walked: Path) -> None:
    record = json.loads((walked / "pilots/words/report.json").read_text())
    d = record["result"]["difference"]
    assert d["interval"][0] <= d["value"] <= d["interval"][1]
    assert d["n"] == record["data"]["sizes"]["test"] == 180
    summary = json.loads((walked / "pilots/words/run/summary.json").read_text())
    assert d | {"unjudged": 0} == summary["difference"] | {"n": 180}
    assert [one["name"] for one in record["metrics"]] == ["column:value"]
    assert {one["group"] for one in record["groups"]} <= {problem["kind"] for problem in rows(walked)}
    assert record["guard"]["n"] == 100
    assert record["outlook"]["verdict"] == "works"
    assert record["cost"]["peak_memory_bytes"] > 10**7
    assert record["cost"]["tokens"]["sampled"] > 1000
    assert 0 < record["concentration"]["learning"] < 1


def rows(walked: Path) -> list[dict[str, str]]:
    """Return the training problems, as the pilot wrote them."""
    text = (walked / "pilots/words/problems/problems.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.thorough
def test_better_and_worse_examples_are_what_was_measured(walked: Path) -> None:
    record = json.loads((walked / "pilots/words/report.json").read_text())
    d, shown = record["result"]["difference"], record["examples"]
    assert len(shown["better"]) == min(3, d["gained"])
    assert len(shown["worse"]) == min(3, d["lost"])
    for one in shown["better"]:
        assert one["after"].split()[-1] in one["answers"]
        assert one["before"].split()[-1:] != one["answers"][:1]


@pytest.mark.thorough
def test_the_html_report_stands_alone(walked: Path) -> None:
    page = (walked / "pilots/words/report.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)  # the letters of a picture may spell anything
    assert "http" not in words.replace("http-equiv", "")  # of the policy that forbids all requests
    assert "<script" not in page
    assert 'src="data:image/png;base64,' in page
    markdown = (walked / "pilots/words/report.md").read_text(encoding="utf-8")
    for heading in ("Gain", "Risks", "Where it changed", "Can it work here?", "The problems", "Cost"):
        assert f"<h2>{heading}</h2>" in page
        assert f"## {heading}" in markdown


@pytest.mark.thorough
def test_a_second_command_only_shows_the_report(walked: Path) -> None:
    before = (walked / "pilots/words/report.json").stat().st_mtime_ns
    (command,) = (one for one in commands() if one.startswith("creditree pilot"))
    done = creditree(*shlex.split(command)[1:], cwd=walked)
    assert "untouched problems" in " ".join(done.stdout.split())
    assert (walked / "pilots/words/report.json").stat().st_mtime_ns == before


@pytest.mark.thorough
def test_going_on_starts_from_the_pilots_adapter_and_reports_the_guard(walked: Path) -> None:
    summary = json.loads((walked / "runs/retrained/summary.json").read_text())
    assert summary["guard"]["n"] == 100
    pilot = json.loads((walked / "pilots/words/run/summary.json").read_text())
    assert summary["guard"]["accuracy"]["before"] == pilot["guard"]["accuracy"]["after"]
    assert summary["guard"]["loss"]["before"]["nats"] == pilot["guard"]["loss"]["after"]["nats"]
