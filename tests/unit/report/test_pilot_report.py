"""The decision report, from records made by hand: sentences and tables that must be there."""

from dataclasses import asdict
from typing import Any

import pytest

from creditree.evaluate.example import Example
from creditree.evaluate.statistics import Estimate, Interval
from creditree.pilot.concentration import Concentration, TokenShare
from creditree.pilot.outlook import Outlook, Signal
from creditree.report.document import Block, Bullets, Callout, Code, Details, Heading, Paragraph, Rows, to_markdown
from creditree.report.pilot import pilot_blocks, pilot_sentence

Record = dict[str, Any]
FIRST = Example("q", "<|user|>1+1?", 5, "It is 2.", 3, False, 1.0, "ok", "", "2", ("2",)).to_json()


def estimate(value: float) -> Record:
    return {"value": value, "interval": [value - 0.05, value + 0.05]}


def difference(value: float, p: float = 0.0123, gained: int = 30, lost: int = 10) -> Record:
    return {
        "value": value,
        "interval": [value - 0.08, value + 0.08],
        "p_value": p,
        "n": 200,
        "gained": gained,
        "lost": lost,
    }


def decoding(before: float, after: float, p: float = 0.0123) -> Record:
    return {"before": estimate(before), "after": estimate(after), "difference": difference(after - before, p)}


def outlooks() -> list[Record]:
    def share(value: float) -> Estimate:
        return Estimate(value, Interval(value - 0.1, value + 0.1), 96)

    signals = (Signal(8, share(0.5), 0.21), Signal(16, share(0.6), 0.32))
    found = [Outlook(one, 16, share(0.4), share(0.8), signals, 0.03, 0.01, 20.0, 0.3) for one in (0.4, 1.0)]
    return [one.to_json() for one in found]


def head() -> Record:
    return {
        "problems": "problems.csv",
        "model": "builtin:multiplication",
        "budget_s": 1800.0,
        "seed": 7,
        "directory": "pilots/a",
        "command": "creditree pilot problems.csv --budget 30m",
        "working_directory": "/home/ann/pilots",
        "data": {
            "grader": "numeric",
            "findings": [
                {"kind": "split", "severity": "note", "text": "110 problems to train on", "places": []},
                {"kind": "conflicts", "severity": "caution", "text": "questions left out: 2",
                 "places": ["row 3", "row 9"]},
            ]
        },
        "seconds": {"checking the problems": 2.0, "trials": 300.0},
        "outlook": {
            "verdict": "works",
            "why": "50% of the groups of 8 are mixed",
            "by_temperature": outlooks(),
            "temperature": 1.0,
            "group": 8,
            "detectable_gain": 0.081,
            "seconds_to_detect": None,
            "first": FIRST,
        },
    }  # fmt: skip


def early() -> Record:
    text = "2% of the groups of 8 are mixed. Do not train yet: take easier problems."
    return head() | {"recommendation": {"decision": "no_signal", "text": text, "mood": "bad"}, "risks": []}


def guard() -> Record:
    loss = difference(0.05)
    return {
        "n": 44,
        "accuracy": {"before": {"accuracy": 0.5}, "after": {"accuracy": 0.45}, "difference": difference(-0.05, 0.4)},
        "loss": {"before": {"nats": 1.25}, "after": {"nats": 1.3}, "difference": loss},
        "worse": True,
        "conclusion": "guard: worse in loss",
    }


def full() -> Record:
    signal = Concentration(99, 0.012, 5.2, 33.4, 0.1, (TokenShare(" =", 0.6, 0.01), TokenShare("1", 0.2, 0.1)))
    example = {
        "id": "p",
        "question": "What is\n" + "x" * 100,
        "answers": ["5", "five"],
        "before": "so 4",
        "after": "so 5",
    }
    return head() | {
        "trials": [
            {
                "method": "t-spmo",
                "learning_rate": 0.005,
                "seconds": 70.0,
                "steps": 31,
                "before": 0.4,
                "after": 0.45,
                "difference": {"value": 0.05, "interval": [-0.02, 0.12]},
            }
        ],
        "choice": {
            "method": "t-spmo", "learning_rate": 0.005, "group": 8, "problems_per_step": 4, "temperature": 0.7,
            "max_new_tokens": 64, "dtype": "float32", "device": "cpu", "memory": "900MB", "micro_batch_tokens": 1024,
            "max_rows": 512, "seconds": 600.0,
        },
        "result": {"decoding": "greedy", "n": 200, **decoding(0.4, 0.5)},
        "decodings": {"greedy": decoding(0.4, 0.5), "T=0.7": decoding(0.3, 0.35, 1e-12)},
        "metrics": [
            {"name": "m.py:cost", "before": 3.25, "after": 2.5, "problems": 200, "difference": difference(-0.75)}
        ],
        "groups": [
            {"group": "add", "n": 60, "before": 0.4, "after": 0.6, "difference": difference(0.2),
             "adjusted_p_value": 0.03}
        ],
        "cost": {
            "seconds": 1700.0,
            "training_seconds": 601.0,
            "tokens_before": 2_340_000,
            "tokens": {"sampled": 1_230_000, "in_loss": 45_600},
            "peak_memory_bytes": 1_234_000_000,
            "device": "cpu",
        },
        "truncated": {"base": 0.05, "trained": 0.011},
        "commonest_answer": {"answer": "5", "share": 0.2},
        "concentration": signal.to_json() | {"tokens": [asdict(one) for one in signal.tokens]},
        "guard": guard(),
        "examples": {"better": [example], "worse": [example | {"question": "Why?"}]},
        "recommendation": {"decision": "use_with_care", "text": "The gain is real.", "mood": "neutral"},
        "risks": ["over-selected tokens: ' ='", "guard set: guard: worse in loss"],
        "files": {"adapter": "pilots/a/run/adapter", "run": "pilots/a/run"},
        "next": {"later": "creditree monitor pilots/a/run FRESH.csv"},
    }  # fmt: skip


def headings(blocks: list[Block]) -> list[str]:
    return [block.text for block in blocks if isinstance(block, Heading)]


def table(blocks: list[Block], first: str) -> Rows:
    return next(block for block in blocks if isinstance(block, Rows) and block.header[0] == first)


def under(blocks: list[Block], heading: str) -> list[Block]:
    start = next(n for n, block in enumerate(blocks) if isinstance(block, Heading) and block.text == heading)
    rest = blocks[start + 1 :]
    stop = next((n for n, block in enumerate(rest) if isinstance(block, Heading)), len(rest))
    return rest[:stop]


def test_the_order_of_the_parts() -> None:
    assert headings(pilot_blocks(full())) == [
        "Pilot: builtin:multiplication on problems.csv",
        "Gain",
        "Risks",
        "Where it changed",
        "Can it work here?",
        "The problems",
        "How it was trained",
        "Cost",
        "Repeat it, and go on",
    ]
    assert headings(pilot_blocks(early()))[1:] == ["Can it work here?", "The problems", "Repeat it, and go on"]


def test_the_sentence_that_counts_comes_first() -> None:
    sentence = (
        "greedy on 200 untouched problems: 40.0 % before, 50.0 % after, +10.0 (+2.0, +18.0) points, p = 0.012. "
        "The gain is real."
    )
    assert pilot_sentence(full()) == sentence
    assert pilot_blocks(full())[1] == Callout(sentence, "neutral")
    assert pilot_blocks(early())[1] == Callout(early()["recommendation"]["text"], "bad")


def test_the_gain_by_decoding_metric_guard_and_group() -> None:
    blocks = pilot_blocks(full())
    assert table(blocks, "").rows == (
        ("accuracy, greedy, %", "40.0 (35.0, 45.0)", "50.0 (45.0, 55.0)", "+10.0 (+2.0, +18.0)", "0.012"),
        ("accuracy, T=0.7, %", "30.0 (25.0, 35.0)", "35.0 (30.0, 40.0)", "+5.0 (-3.0, +13.0)", "< 1e-10"),
        ("m.py:cost", "3.25", "2.5", "-0.75 (-0.83, -0.67)", "0.012"),
        ("guard set, accuracy, % (n = 44)", "50.0", "45.0", "-5.0 (-13.0, +3.0)", "0.400"),
        ("guard set, loss, nats a token", "1.25", "1.3", "+0.05 (-0.03, +0.13)", "0.012"),
    )
    assert table(blocks, "group").rows == (("add", "60", "40.0", "60.0", "+20.0 (+12.0, +28.0)", "p = 0.030"),)
    assert "On 200 problems that nothing was trained or chosen on" in to_markdown(under(blocks, "Gain"))
    plain = pilot_blocks(full() | {"guard": None, "groups": [], "metrics": []})
    assert len(table(plain, "").rows) == 2
    assert len(under(plain, "Gain")) == 2


def test_risks_and_the_signal() -> None:
    listed, facts, details = under(pilot_blocks(full()), "Risks")
    assert listed == Bullets(("over-selected tokens: ' ='", "guard set: guard: worse in loss"))
    assert facts == Paragraph(
        "Cut off: 5.0 % before, 1.1 % after. Learning signal: on 1.2 % of the sampled tokens, as concentrated as on 5 "
        "equal tokens and 33 equal problems."
    )
    assert isinstance(details, Details)
    assert isinstance(details.blocks[0], Rows)
    # 0.6 / 0.01 and 0.2 / 0.1.
    assert details.blocks[0].rows == (("' ='", "60.0 %", "1.0 %", "60.0x"), ("'1'", "20.0 %", "10.0 %", "2.0x"))
    calm = under(pilot_blocks(full() | {"risks": [], "concentration": None, "guard": None}), "Risks")
    assert calm == [
        Paragraph("None of those that are looked for was seen."),
        Paragraph(
            "Cut off: 5.0 % before, 1.1 % after. No guard set was named: what the model forgot elsewhere is not known."
        ),
    ]


def test_examples_of_either_kind() -> None:
    said, better, worse = under(pilot_blocks(full()), "Where it changed")
    assert said == Paragraph("30 problems are solved now and were not before; of 10 it is the reverse.")
    assert isinstance(better, Details)
    assert isinstance(worse, Details)
    # "What is " and 79 of the hundred make 87 characters.
    assert better.summary == "solved now: What is " + "x" * 79 + "..."
    assert worse.summary == "not solved any more: Why?"
    assert better.blocks == (
        Paragraph("Accepted: 5 or five"),
        Paragraph("Before:"),
        Code("so 4"),
        Paragraph("After:"),
        Code("so 5"),
    )


def test_the_outlook_has_a_row_a_temperature() -> None:
    blocks = under(pilot_blocks(early()), "Can it work here?")
    found = table(blocks, "temperature")
    assert found.header[3:] == ("mixed groups of 8, %", "mixed groups of 16, %", "spread, 8", "spread, 16", "cut off")
    assert [row[0] for row in found.rows] == ["0.4", "1"]
    assert found.rows[0][1:] == (
        "40.0 (30.0, 50.0)", "80.0 (70.0, 90.0)", "50.0 (40.0, 60.0)", "60.0 (50.0, 70.0)", "0.21", "0.32", "3.0 %",
    )  # fmt: skip
    assert blocks[0] == Paragraph(
        "50% of the groups of 8 are mixed. The test sees gains from about 8 points on in four of five cases."
    )
    assert "on 96 training problems, K = 16 completions each" in to_markdown(blocks)
    assert "  | <|user|>1+1?" in to_markdown(blocks)
    assert "reward 1; answer found '2', expected '2'; 3 tokens, ended by itself" in to_markdown(blocks)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"expected": 120.0, "latest": 600.0}, "takes 2 min 00 s of training (at most 10 min 00 s)."),
        ({"expected": 120.0, "latest": None}, "takes 2 min 00 s of training (not bounded by the trials)."),
        ({"expected": None, "latest": None}, "The trials brought no gain, so how long until one can be seen is not"),
    ],
)
def test_how_long_until_a_gain_can_be_seen(seconds: Record, words: str) -> None:
    record = full()
    record["outlook"]["seconds_to_detect"] = seconds
    assert words in to_markdown(pilot_blocks(record))
    assert words not in to_markdown(pilot_blocks(full()))


def test_findings_are_sorted_by_how_serious_they_are() -> None:
    (found,) = under(pilot_blocks(early()), "The problems")
    assert found == Bullets(("caution: questions left out: 2 (row 3, row 9)", "110 problems to train on"))


def test_how_it_was_trained_with_or_without_trials_and_curve() -> None:
    how, trials = under(pilot_blocks(full()), "How it was trained")
    assert how == Paragraph(
        "t-spmo, groups of 8, 4 problems a step, learning rate 0.005, sampled at T = 0.7 up to 64 tokens, base in "
        "float32 on cpu, 512 completions together, micro-batches of 1024 tokens, within 900 MB."
    )
    assert isinstance(trials, Rows)
    assert trials.rows == (("t-spmo", "0.005", "31", "1 min 10 s", "45.0", "+5.0 (-2.0, +12.0)"),)
    blocks = under(pilot_blocks(full() | {"trials": []}, b"png"), "How it was trained")
    assert blocks[1] == Paragraph("The budget left no time for trials of other settings.")
    assert isinstance(blocks[2], Details)
    assert "![mean reward of the sampled groups](run/reward.png)" in to_markdown(blocks)


def test_what_it_cost() -> None:
    assert under(pilot_blocks(full()), "Cost") == [
        Paragraph(
            "28 min 20 s of 30 min 00 s in all (checking the problems 2.0 s, trials 5 min 00 s); 10 min 01 s of "
            "training, 1.23 M tokens sampled in it and 2.34 M before, 45.6 k in the loss; at most 1.23 GB of memory on "
            "cpu."
        )
    ]


def test_the_commands_to_repeat_it_and_to_go_on() -> None:
    (code,) = under(pilot_blocks(full()), "Repeat it, and go on")
    assert isinstance(code, Code)
    lines = code.text.splitlines()
    assert lines[:2] == ["# in /home/ann/pilots, into another directory", "creditree pilot problems.csv --budget 30m"]
    assert lines[2:] == ["# later", "creditree monitor pilots/a/run FRESH.csv"]
    (short,) = under(pilot_blocks(early()), "Repeat it, and go on")
    assert isinstance(short, Code)
    assert short.text.splitlines() == lines[:2]
