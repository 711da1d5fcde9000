"""Each diagnosis: what provokes it, what it says, that its remedy is a configuration; and that health has none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from creditree.config.load import check_config, dump_config
from creditree.config.overrides import apply_overrides
from creditree.doctor.case import Case
from creditree.doctor.diagnosis import Diagnosis, yaml_line
from creditree.doctor.host import CacheFolder, Device, unmet_requirements
from creditree.doctor.registry import DIAGNOSES, examined
from creditree.ledger import Ledger
from creditree.runs.attempts import Attempt
from tests.unit.doctor.cases import (
    GROUP,
    Listed,
    completion,
    config,
    groups,
    host,
    ledger,
    questions,
    records,
    room,
    sampled,
    summary,
)

ROOT = Path(__file__).resolve().parents[3]
GPU = (Device("cpu", "", 16 * 10**9, 8 * 10**9), Device("cuda:0", "a GPU", 8 * 10**10, 6 * 10**10))
QWEN = {"name": "random:qwen2-0.5b"}


def answers(*texts: str) -> tuple[Attempt, ...]:
    return tuple(Attempt(f"p{n}", 0, 0.0, "ok", None, 3, False, text=text) for n, text in enumerate(texts))


def worked(n: int) -> dict[str, Any]:
    """Return what ends with the right number and is never right."""
    return {
        "completions": tuple(
            completion(
                step,
                f"p{step}",
                f"so it is {1000 + step} tents",
                0.0,
                answer=str(1000 + step),
                question="how many?",
                index=index,
            )
            for step in range(1, n + 1)
            for index in range(GROUP)
        )
    }


FALLEN: dict[str, Any] = {"reward_mean": lambda step: max(0.0, 0.6 - 0.02 * step) + 0.001 * (step % 3)}
SAME = answers(*(f"answer {n}" for n in range(12)))

PROVOKED: dict[str, list[tuple[str, Callable[[], Case], str]]] = {
    "versions": [("problem", lambda: Case(host=host(unmet=("torch>=2.8 (installed: 2.1)",))), "torch>=2.8")],
    "gpu": [
        ("problem", lambda: Case(host=host(versions={"gpu": "a GPU", "torch": "2.13.0+cpu"})), "torch finds none"),
        ("note", lambda: Case(host=host(devices=GPU), config=config(model=QWEN)), "is on the CPU"),
    ],
    "native": [
        (
            "note",
            lambda: Case(host=host(decoder={"engine": "torch", "why": "there is no C++ compiler"})),
            "no C++ compiler",
        )
    ],
    "disk": [
        (
            "problem",
            lambda: Case(host=host(caches=(CacheFolder("models", "/c", 10**11, writable=False),))),
            "cannot be written",
        ),
        (
            "problem",
            lambda: Case(host=host(caches=(CacheFolder("models", "/c", 10**8, writable=True),))),
            "100 MB free",
        ),
        (
            "note",
            lambda: Case(host=host(caches=(CacheFolder("models", "/c", 2 * 10**9, writable=True),))),
            "2.00 GB free",
        ),
    ],
    "memory": [
        (
            "problem",
            lambda: Case(config=config(), room=room(problem="the run needs 9 GB.", group=6)),
            "the run needs 9 GB",
        ),
        ("note", lambda: Case(config=config(), room=room(at_most=9 * 10**9)), "may need up to 9.00 GB"),
    ],
    "leak": [
        (
            "problem",
            # equal but for capitals, white space and the stop: 1 of the 2 that are measured
            lambda: Case(
                config=config(),
                task=Listed(questions("What is 2 + 2?", "other"), questions("what is  2 + 2", "new", name="t")),
            ),
            "1 of the 2 problems",
        ),
        ("problem", lambda: sampled(trained=answers("a", "b", "c")), "2 of the 3 problems"),  # p1 and p2 were sampled
    ],
    "small_test": [
        ("note", lambda: Case(config=config(), task=Listed((), questions(*map(str, range(20))))), "Only 20 problems"),
        ("note", lambda: sampled(summary=summary([0, 1] * 10, [1, 1] * 10)), "Only 20 problems"),
    ],
    "learning_rate": [
        ("problem", lambda: Case(config=config(train={"learning_rate": 0.3})), "60 times as high"),  # of 5e-3
        ("note", lambda: Case(config=config(train={"learning_rate": 1e-6})), "5,000 times lower"),
    ],
    "truncated": [
        (
            "problem",
            lambda: sampled(
                total=ledger(truncated=300), completions=tuple(groups(9, [0.0] * 8, "1*7=", truncated=True))
            ),
            "75 of 80",
        ),
        ("note", lambda: sampled(steps=4, total=ledger(truncated=200)), "200 of 320"),
        # only in the last quarter of the steps
        (
            "problem",
            lambda: Case(
                config=config(),
                records=[{**r, "truncated": max(0, 8 * (r["step"] - 30))} for r in records(40, ledger())],
            ),
            "80 of 80",
        ),
    ],
    "unparsable": [
        (
            "problem",
            lambda: sampled(total=ledger(unparsable=310), completions=tuple(groups(9, [0.0] * 8, status="unparsable"))),
            "78 of 80",
        )
    ],
    "grader": [
        ("problem", lambda: sampled(total=ledger(solved=0, worthless=320), **worked(9)), "the grader, not the model")
    ],
    "unjudged": [
        (
            "problem",
            lambda: sampled(
                total=ledger(timeouts=40, failed_verdicts=40),
                completions=(completion(1, "p", "x", None, status="timeout", detail="took 5 s"),),
            ),
            "40 ran out of time",
        ),
        ("note", lambda: sampled(total=ledger(crashes=2, failed_verdicts=2)), "2 failed"),
    ],
    "duplicates": [
        ("problem", lambda: sampled(completions=tuple(groups(12, [0.0] * 8, "the same {step}"))), "12 of 12 groups")
    ],
    "too_easy": [
        (
            "problem",
            lambda: sampled(total=ledger(solved=320, worthless=0), mixed_share=0.0, reward_mean=1.0),
            "320 of 320",
        ),
        # step 31 begins the last quarter of 40
        (
            "note",
            lambda: sampled(mixed_share=lambda s: 0.9 * (s <= 30), reward_mean=lambda s: 0.4 + 0.6 * (s > 30)),
            "since step 31",
        ),
    ],
    "too_hard": [
        (
            "problem",
            lambda: sampled(total=ledger(solved=0, worthless=320), mixed_share=0.0, reward_mean=0.0),
            "320 of 320",
        )
    ],
    "same_reward": [("problem", lambda: sampled(mixed_share=0.0), "0% of 40 groups")],
    "not_finite": [
        ("problem", lambda: sampled(total=ledger(skipped=10)), "10 of 50 updates"),
        ("note", lambda: sampled(total=ledger(skipped=1)), "1 of 41 updates"),
    ],
    "gradient_norm": [("problem", lambda: sampled(grad_norm=lambda step: 0.05 * 1.2**step), "has grown from")],
    "collapse": [
        ("problem", lambda: sampled(**FALLEN), "has fallen from"),
        (
            "problem",
            lambda: sampled(
                completions=tuple(
                    c
                    for step in range(1, 17)
                    for c in groups(step, [0.0, 1.0], surprisal=0.5 if step < 3 else 0.01)[-2:]
                )
            ),
            "hardly anything but one text",
        ),
        (
            "problem",
            lambda: sampled(
                completions=tuple(
                    c
                    for step in range(1, 17)
                    for c in groups(step, [0.0, 0.0], surprisal=0.1 if step < 3 else 1.0)[-2:]
                )
            ),
            "at random",
        ),
    ],
    "mismatch": [
        ("problem", lambda: sampled(sampler_mismatch_mean=0.3, sampler_mismatch_max=4.0), "0.300 nats"),
        (
            "note",
            lambda: sampled(sampler_mismatch_mean=0.02, config=config(model={"dtype": "bfloat16"})),
            "what bfloat16 rounds",
        ),
    ],
    "clipped": [("note", lambda: sampled(clip_fraction=0.7), "70% of the loss terms")],
    "unmoved": [
        ("problem", lambda: sampled(total=ledger(updates=0, no_signal=40), grad_norm=0.0), "in none of the 40 steps"),
        ("problem", lambda: sampled(adapter_size=0.0), "matrices B are zero"),
        (
            "problem",
            lambda: sampled(config=config(train={"learning_rate": 1e-5}), base=SAME, trained=SAME),
            "not one of 12 answers",
        ),
        ("note", lambda: sampled(total=ledger(updates=3), base=SAME, trained=SAME), "After 3 updates"),
    ],
    "worse": [
        ("problem", lambda: sampled(summary=summary([1] * 150, [0] * 30 + [1] * 120)), "-20.0 points"),
        (
            "problem",
            lambda: sampled(
                summary=summary([1, 0] * 60, [1, 0] * 60, guard={"worse": True, "conclusion": "guard: worse."})
            ),
            "guard: worse",
        ),
    ],
    "zero_loss": [("note", lambda: sampled(loss=3e-9), "and that is right")],
    "unfinished": [("note", lambda: sampled(steps=7, is_run=True), "7 of 40 steps")],
}
"""By id: severity, what provokes it, and words that it says. Those of prompts have a file of their own."""
CASES = [(name, *case) for name, cases in PROVOKED.items() for case in cases]


def found_in(case: Case, name: str) -> Diagnosis:
    return next(diagnosis for diagnosis in examined(case) if diagnosis.id == name)


@pytest.mark.parametrize(("name", "severity", "make", "words"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])
def test_what_provokes_it_is_found_with_evidence_and_remedy(
    name: str, severity: str, make: Callable[[], Case], words: str
) -> None:
    case = make()
    diagnosis = found_in(case, name)
    assert (diagnosis.severity, words in diagnosis.text) == (severity, True), diagnosis.text
    assert diagnosis.evidence
    assert diagnosis.remedy
    settings = [
        f"{key}={yaml.safe_dump(value).removesuffix('...' + chr(10)).strip()}"
        for key, value in diagnosis.settings.items()
    ]
    base = yaml.safe_load(dump_config(case.config or config()))
    check_config(apply_overrides({**base, "method": {"name": base["method"]["name"]}}, settings), name)


def test_every_diagnosis_is_provoked_here_or_beside() -> None:
    beside = {"chat_template", "prompt_tokens"}
    assert set(PROVOKED) | beside == {name for name, _ in DIAGNOSES}


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(host=host()),
        Case(host=host(), config=config(), room=room()),
        sampled(),
        sampled(steps=6, total=ledger(48)),
        sampled(steps=2, total=ledger(16, updates=0), adapter_size=0.0),  # too early to say
        sampled(
            summary=summary([0, 1] * 100, [1, 1] * 100),
            base=answers("1", "2"),
            trained=tuple(replace(attempt, problem_id=f"test-{attempt.problem_id}") for attempt in answers("1", "3")),
            is_run=True,
        ),
        sampled(total=ledger(truncated=20, unparsable=20)),
        # a run that learns: the policy gets sure of itself, and right
        sampled(
            reward_mean=lambda step: min(0.95, step / 40),
            completions=tuple(
                c
                for step in range(1, 17)
                for c in groups(step, [0.0 + (step > 10), 1.0], surprisal=0.5 if step < 8 else 0.02)[-2:]
            ),
        ),
        Case(config=config(), task=Listed(questions("2 + 2?"), questions(*(f"{n} + 3?" for n in range(120))))),
    ],
)
def test_health_has_no_diagnosis(case: Case) -> None:
    assert [(diagnosis.id, diagnosis.text) for diagnosis in examined(case)] == []


def test_one_cause_is_told_and_not_what_follows_from_it() -> None:
    cut = sampled(
        total=ledger(truncated=320, solved=0, worthless=320),
        mixed_share=0.0,
        completions=tuple(groups(9, [0.0] * 8, "1*7= {step} {index}", truncated=True)),
    )
    assert [diagnosis.id for diagnosis in examined(cut)] == ["truncated"]
    alike = sampled(mixed_share=0.0, completions=tuple(groups(12, [0.0] * 8, "the same {step}")))
    assert [diagnosis.id for diagnosis in examined(alike)] == ["duplicates"]


def test_problems_come_before_notes() -> None:
    case = sampled(total=ledger(skipped=10), loss=3e-9, sampler_mismatch_mean=0.3)
    assert [found.severity for found in examined(case)] == ["problem", "problem", "note"]


def test_an_older_run_without_some_counts_is_examined() -> None:
    bare = {"step": 1, "loss": 0.1, "grad_norm": 0.2, "completions": 8, "updates": 1}
    assert examined(Case(config=config(), records=[bare])) == ()
    assert Case(records=[bare]).counts == Ledger(completions=8, updates=1)


def test_every_diagnosis_has_a_section_in_the_documentation() -> None:
    lines = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").splitlines()
    sections = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    assert sorted(sections) == sorted(name for name, _ in DIAGNOSES)


def test_a_remedy_is_a_line_of_yaml() -> None:
    assert yaml_line("sampling.max_new_tokens", 256) == "sampling: {max_new_tokens: 256}"
    assert yaml.safe_load(yaml_line("task.prompt.text", "{question}\nSo: {x}")) == {
        "task": {"prompt": {"text": "{question}\nSo: {x}"}}
    }


def test_requirements_that_are_not_met() -> None:
    assert unmet_requirements(["numpy>=1", "numpy<1", "nobody-has-this>=2"])[0].startswith("numpy<1 (installed: ")
    assert unmet_requirements(["nobody-has-this>=2"]) == ("nobody-has-this>=2 (installed: no)",)
