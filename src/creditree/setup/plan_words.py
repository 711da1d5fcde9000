"""What a plan says, for the terminal."""

from typing import Any

from rich.console import Console

from creditree.plan.assumptions import assumed
from creditree.plan.fit import ANY, CARDS, GB, Card, precisions_of
from creditree.plan.flops import step_cost
from creditree.plan.prediction import PARTS, Prediction, predict
from creditree.plan.workload import Workload
from creditree.report.wording import terminal_table
from creditree.setup.choices import choices_text
from creditree.setup.plan import Plan
from creditree.setup.problems import warm_start_words
from creditree.units import show_bytes

MOST_EXPLAINED = 3
"""Columns of phases beside which there is room for what the parts are."""


def print_plan(out: Console, plan: Plan) -> None:
    """Print all of a plan."""
    _show(out, plan)
    if plan.choices:
        out.print("\n" + choices_text(plan.choices), markup=False, highlight=False, soft_wrap=True)


def _show(out: Console, plan: Plan) -> None:
    work = plan.work
    out.print(terminal_table(_title(plan), *_phases(predict(work))))
    meanings = _meanings(predict(work))
    if meanings is not None:
        out.print(meanings, soft_wrap=True)
    out.print(_verdict(plan), soft_wrap=True)
    expected = predict(work, expected=True)
    out.print(
        f"To expect: {show_bytes(expected.total)}, where replays cut completions in the middle and completions part at "
        "their first token."
        if work.branches is None
        else f"To expect: {show_bytes(expected.total)}.",
        soft_wrap=True,
    )
    warm = plan.config.warm_start
    first = [warm_start_words(warm)] if warm.steps else []
    for sentence in (*first, *assumed(work), *plan.prompt.notes):
        out.print(sentence, soft_wrap=True)
    stored = "all of a step" if work.stored_tokens is None else f"{work.stored_tokens:,} tokens"
    out.print(
        f"Settings: train.micro_batch_tokens {work.micro_batch_tokens}, train.max_rows {work.max_rows}; keys and "
        f"values are held of {stored}.\n",
        soft_wrap=True,
    )
    out.print(_cost_table(work))
    out.print(_cards_table(plan))
    out.print(
        "Bytes that torch allocates, and of native code and numpy by formula; the interpreter and its libraries take "
        "0.3 to 0.5 GB more, a CUDA context as much of the card.",
        soft_wrap=True,
    )


def _title(plan: Plan) -> str:
    prompt = f"prompt of {plan.prompt.tokens} tokens" + (" (assumed)" if plan.prompt.assumed else "")
    group = f"group of {plan.work.group}" if plan.work.grouped else f"{plan.work.group} completions of a problem"
    group = f"{group}, {plan.work.max_new_tokens} new tokens"
    return f"{plan.config.method.name} on {plan.config.model.name} in {plan.work.dtype}: {group}, {prompt}; at most"


def _phases(prediction: Prediction) -> tuple[list[str], list[list[str]]]:
    """Return the table of parts; what they are is said in it where there is room."""
    is_wide = len(prediction.phases) > MOST_EXPLAINED
    rows = [
        [
            name,
            *([] if is_wide else [PARTS[name]]),
            *(show_bytes(phase.parts[name]) if name in phase.parts else "" for phase in prediction.phases),
        ]
        for name in _names(prediction)
    ]
    header = ["part", *([] if is_wide else ["what it is"])]
    total = ["total", *([] if is_wide else [""]), *(show_bytes(phase.total) for phase in prediction.phases)]
    return [*header, *(phase.name for phase in prediction.phases)], [*rows, total]


def _names(prediction: Prediction) -> list[str]:
    return [name for name in PARTS if any(name in phase.parts for phase in prediction.phases)]


def _meanings(prediction: Prediction) -> str | None:
    """Return what the parts are, where the table has no room for it."""
    if len(prediction.phases) <= MOST_EXPLAINED:
        return None
    return "Parts: " + "; ".join(f"{name}: {PARTS[name].replace(': ', ', ')}" for name in _names(prediction)) + "."


def _verdict(plan: Plan) -> str:
    prediction = predict(plan.work)
    most = PARTS[prediction.limits]
    peak = f"Peak: {show_bytes(prediction.total)} in {prediction.peak.name}; besides the weights most of it is {most}."
    if plan.limit is None:
        return peak
    if plan.problem is not None:
        return f"{peak}\nDoes not fit: {plan.problem}"
    left = show_bytes(plan.limit - prediction.total)
    return (
        f"{peak}\nFits {show_bytes(plan.limit)}, with {left} left. "
        f"Largest that fits: {_largest(plan)}, or sampling.max_new_tokens {plan.length}."
    )


def _largest(plan: Plan) -> str:
    most = _group(plan.group)
    return f"method.group {most}" if plan.work.grouped else f"{most} completions of a problem"


def _group(group: int | None) -> str:
    return "any" if group == ANY else "none" if group is None else str(group)


def _cost_table(work: Workload) -> Any:
    most, expected = step_cost(work), step_cost(work, expected=True)
    names = {
        "sampled": "tokens sampled",
        "decoded": "tokens decoded",
        "forwarded": "tokens forwarded to learn",
        "loss_terms": "loss terms",
        "prefill_flops": "FLOPs of the prompt",
        "decode_flops": "FLOPs of decoding",
        "influence_flops": "FLOPs of influence",
        "update_flops": "FLOPs of the update",
    }
    rows = [[words, _count(getattr(most, name)), _count(getattr(expected, name))] for name, words in names.items()]
    return terminal_table("a step", ["what", "at most", "to expect"], rows)


def _count(number: int) -> str:
    for name, unit in (("T", 10**12), ("G", 10**9)):
        if number >= unit:
            return f"{number / unit:.2f} {name}"
    return f"{number:,}"


def _cards_table(plan: Plan) -> Any:
    by_size, precisions = {(card.memory, card.dtype): card for card in plan.table}, precisions_of(plan.work)
    rows = [[f"{size} GB", *(_cell(by_size[size * GB, dtype]) for dtype in precisions)] for size in CARDS]
    title = "what fits: largest group / largest max_new_tokens (the other as configured; - : not as configured)"
    return terminal_table(title, ["memory", *precisions], rows)


def _cell(card: Card) -> str:
    sizes = f"{_group(card.largest_group)} / {card.largest_length or 'none'}"
    return sizes if card.fits else f"- ({sizes})" if card.largest_length else "-"
