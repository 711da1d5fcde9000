"""The decision report of a pilot: one page for people who decide, from the record that programs read."""

from collections.abc import Mapping, Sequence
from typing import Any

from creditree.evaluate.example import Example
from creditree.evaluate.statistics import Estimate, Interval
from creditree.report.document import Block, Bullets, Callout, Code, Details, Heading, Paragraph, Picture, Rows
from creditree.report.wording import count, duration, p_value, percent, percent_interval, points_interval
from creditree.units import parse_bytes, show_bytes

MOST_FINDINGS = 12


def pilot_blocks(record: Mapping[str, Any], curve: bytes | None = None) -> list[Block]:
    """Return the report of a pilot, trained or not; `curve`: the reward by step, as PNG."""
    blocks: list[Block] = [
        Heading(f"Pilot: {record['model']} on {record['problems']}", 1),
        Callout(pilot_sentence(record), record["recommendation"]["mood"]),
    ]
    if "result" in record:
        blocks += [*_gain(record), *_risks(record), *_examples(record)]
    blocks += [*_outlook(record), *_data(record)]
    if "result" in record:
        blocks += [*_how(record, curve), *_cost(record)]
    return [*blocks, *_repeat(record)]


def pilot_sentence(record: Mapping[str, Any]) -> str:
    """Return the gain in one line, for the terminal."""
    if "result" not in record:
        return str(record["recommendation"]["text"])
    result = record["result"]
    d = result["difference"]
    return (
        f"{result['decoding']} on {result['n']} untouched problems: {percent(result['before']['value'])} % before, "
        f"{percent(result['after']['value'])} % after, {_points(d)} points, {p_value(d['p_value'])}. "
        f"{record['recommendation']['text']}"
    )


def _gain(record: Mapping[str, Any]) -> list[Block]:
    rows: list[tuple[str, ...]] = [
        (
            f"accuracy, {name}, %",
            _percent(decoding["before"]),
            _percent(decoding["after"]),
            *_change(decoding["difference"], points=True),
        )
        for name, decoding in record["decodings"].items()
    ]
    rows += [
        (
            metric["name"],
            f"{metric['before']:.4g}",
            f"{metric['after']:.4g}",
            *_change(metric["difference"], points=False),
        )
        for metric in record["metrics"]
        if "error" not in metric
    ]
    guard = record["guard"]
    if guard is not None:
        rows += _guard_rows(guard)
    blocks: list[Block] = [
        Heading("Gain"),
        Rows(("", "before", "after", "difference", "p"), tuple(rows)),
        Paragraph(
            f"On {record['result']['n']} problems that nothing was trained or chosen on; 95 % intervals; differences "
            "are paired by problem."
        ),
    ]
    if record["groups"]:
        groups = tuple(
            (
                group["group"],
                str(group["n"]),
                *(percent(group[side]) for side in ("before", "after")),
                _points(group["difference"]),
                p_value(group["adjusted_p_value"]),
            )
            for group in record["groups"]
        )
        blocks.append(Rows(("group", "n", "before, %", "after, %", "difference", "p (Holm)"), groups))
    return blocks


def _guard_rows(guard: Mapping[str, Any]) -> list[tuple[str, ...]]:
    accuracy, loss = guard["accuracy"], guard["loss"]
    return [
        (
            f"guard set, accuracy, % (n = {guard['n']})",
            percent(accuracy["before"]["accuracy"]),
            percent(accuracy["after"]["accuracy"]),
            *_change(accuracy["difference"], points=True),
        ),
        (
            "guard set, loss, nats a token",
            f"{loss['before']['nats']:.4g}",
            f"{loss['after']['nats']:.4g}",
            *_change(loss["difference"], points=False),
        ),
    ]


def _risks(record: Mapping[str, Any]) -> list[Block]:
    listed: Sequence[str] = record["risks"]
    blocks: list[Block] = [Heading("Risks")]
    blocks.append(Bullets(tuple(listed)) if listed else Paragraph("None of those that are looked for was seen."))
    concentration = record["concentration"]
    facts = [f"Cut off: {_share(record['truncated']['base'])} before, {_share(record['truncated']['trained'])} after."]
    if concentration is not None:
        facts.append(
            f"Learning signal: on {_share(concentration['learning'])} of the sampled tokens, as concentrated as on "
            f"{concentration['effective_tokens']:.0f} equal tokens and {concentration['effective_problems']:.0f} equal "
            "problems."
        )
    if record["guard"] is None:
        facts.append("No guard set was named: what the model forgot elsewhere is not known.")
    blocks.append(Paragraph(" ".join(facts)))
    if concentration is not None:
        rows = tuple(
            (
                repr(token["text"]),
                _share(token["signal"]),
                _share(token["sampled"]),
                f"{token['signal'] / token['sampled']:.1f}x",
            )
            for token in concentration["tokens"]
        )
        table = Rows(("token", "of the signal", "of the text", "ratio"), rows)
        blocks.append(Details("Tokens with most of the learning signal", (table,)))
    return blocks


def _examples(record: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    d = record["result"]["difference"]
    blocks.append(Heading("Where it changed"))
    blocks.append(
        Paragraph(f"{d['gained']} problems are solved now and were not before; of {d['lost']} it is the reverse.")
    )
    for kind, what in (("better", "solved now"), ("worse", "not solved any more")):
        for example in record["examples"][kind]:
            shown = (
                Paragraph(f"Accepted: {' or '.join(example['answers'])}"),
                *(Paragraph("Before:"), Code(example["before"])), *(Paragraph("After:"), Code(example["after"])),
            )  # fmt: skip
            blocks.append(Details(f"{what}: {_short(example['question'])}", shown))
    return blocks


def _outlook(record: Mapping[str, Any]) -> list[Block]:
    outlook = record["outlook"]
    groups = [signal["group"] for signal in outlook["by_temperature"][0]["signals"]]
    header = ("temperature", "pass@1, %", "pass@K, %", *(f"mixed groups of {g}, %" for g in groups),
              *(f"spread, {g}" for g in groups), "cut off")  # fmt: skip
    rows = tuple(
        (
            f"{row['temperature']:g}",
            _percent(row["accuracy"]),
            _percent(row["best_of"]),
            *(_percent(signal["mixed"]) for signal in row["signals"]),
            *(f"{signal['spread']:.2f}" for signal in row["signals"]),
            _share(row["truncated"]),
        )
        for row in outlook["by_temperature"]
    )
    looked = outlook["by_temperature"][0]
    sentences = [f"{outlook['why'][0].upper()}{outlook['why'][1:]}."]
    cold = outlook.get("cold_start")
    sentences += [str(cold["text"])] if cold else []
    if outlook["detectable_gain"] is not None:
        sentences.append(
            f"The test sees gains from about {100 * outlook['detectable_gain']:.0f} points on in four of five cases."
        )
    sentences += _until(outlook["seconds_to_detect"])
    return [
        Heading("Can it work here?"),
        Paragraph(" ".join(sentences)),
        Rows(header, rows),
        Paragraph(
            f"The base model on {looked['accuracy']['n']} training problems, K = {looked['samples']} completions each. "
            "A group is mixed where some completions are right and some wrong: only these teach. Spread: standard "
            "deviation of the rewards in a group."
        ),
        Details("The first prompt and completion of the base model", (Code(str(Example.from_json(outlook["first"]))),)),
    ]


def _until(seconds: Mapping[str, Any] | None) -> list[str]:
    if seconds is None:
        return []
    if seconds["expected"] is None:
        return ["The trials brought no gain, so how long until one can be seen is not known."]
    latest = "not bounded by the trials" if seconds["latest"] is None else f"at most {duration(seconds['latest'])}"
    return [f"At the pace of the best trial that takes {duration(seconds['expected'])} of training ({latest})."]


def _data(record: Mapping[str, Any]) -> list[Block]:
    data = record["data"]
    order = {"blocker": 0, "caution": 1, "note": 2}
    findings = sorted(data["findings"], key=lambda finding: order[finding["severity"]])
    lines = [
        f"{'' if finding['severity'] == 'note' else finding['severity'] + ': '}{finding['text']}"
        + (f" ({', '.join(finding['places'])})" if finding["places"] else "")
        for finding in findings[:MOST_FINDINGS]
    ]
    return [Heading("The problems"), Bullets(tuple(lines))]


def _how(record: Mapping[str, Any], curve: bytes | None) -> list[Block]:
    chosen = record["choice"]
    problems = "1 problem" if chosen["problems_per_step"] == 1 else f"{chosen['problems_per_step']} problems"
    text = (
        f"{chosen['method']}, groups of {chosen['group']}, {problems} a step, learning "
        f"rate {chosen['learning_rate']:g}, sampled at T = {chosen['temperature']:g} up to {chosen['max_new_tokens']} "
        f"tokens, base in {chosen['dtype']} on {chosen['device']}, {chosen['max_rows']} completions together, "
        f"micro-batches of {chosen['micro_batch_tokens']} tokens, within {show_bytes(parse_bytes(chosen['memory']))}."
    )
    blocks: list[Block] = [Heading("How it was trained"), Paragraph(text)]
    if record["trials"]:
        rows = tuple(
            (
                trial["method"], f"{trial['learning_rate']:g}", str(trial["steps"]), duration(trial["seconds"]),
                percent(trial["after"]), _points(trial["difference"]),
            )
            for trial in record["trials"]
        )  # fmt: skip
        blocks.append(Rows(("trial", "learning rate", "steps", "training", "validation, %", "gain"), rows))
    else:
        blocks.append(Paragraph("The budget left no time for trials of other settings."))
    if curve is not None:
        blocks.append(
            Details("Reward by step", (Picture("run/reward.png", curve, "mean reward of the sampled groups"),))
        )
    return blocks


def _cost(record: Mapping[str, Any]) -> list[Block]:
    cost = record["cost"]
    tokens = cost["tokens"]
    stages = ", ".join(f"{name} {duration(seconds)}" for name, seconds in record["seconds"].items())
    return [
        Heading("Cost"),
        Paragraph(
            f"{duration(cost['seconds'])} of {duration(record['budget_s'])} in all ({stages}); "
            f"{duration(cost['training_seconds'])} of training, {count(tokens['sampled'])} tokens sampled in it and "
            f"{count(cost['tokens_before'])} before, {count(tokens['in_loss'])} in the loss; at most "
            f"{cost['peak_memory_bytes'] / 1e9:.2f} GB of memory on {cost['device']}."
        ),
    ]


def _repeat(record: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Heading("Repeat it, and go on"), Code(_commands(record))]
    return blocks


def _commands(record: Mapping[str, Any]) -> str:
    lines = [f"# in {record['working_directory']}, into another directory", record["command"]]
    for purpose, call in record.get("next", {}).items():
        lines += [f"# {purpose}", call]
    return "\n".join(lines)


def _percent(estimate: Mapping[str, Any]) -> str:
    parsed = Estimate.from_json(estimate)
    return percent_interval(parsed.value, parsed.interval)


def _points(difference: Mapping[str, Any]) -> str:
    return points_interval(difference["value"], Interval(*difference["interval"]))


def _change(difference: Mapping[str, Any], *, points: bool) -> tuple[str, str]:
    p = p_value(difference["p_value"]).removeprefix("p ").removeprefix("= ")
    if points:
        return _points(difference), p
    low, high = difference["interval"]
    return f"{difference['value']:+.3g} ({low:+.3g}, {high:+.3g})", p


def _share(value: float) -> str:
    return f"{percent(value)} %"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:87]}..."
