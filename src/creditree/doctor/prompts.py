"""Diagnoses of how the model is asked: chat formats that are mangled, and prompts whose text or tokens change."""

from collections.abc import Sequence
from dataclasses import dataclass

from creditree.doctor.case import Case
from creditree.doctor.diagnosis import EXAMPLE, Diagnosis, quoted
from creditree.models.texts import PROBE, Texts
from creditree.problem import Problem
from creditree.tasks.task import PromptTemplate

LOOKED_AT = 64
"""Problems whose prompts are looked at."""


def chat_template(case: Case) -> Diagnosis | None:
    """Is the chat format mangled, or left out?"""
    problems = asked(case)
    if case.texts is None or case.task is None or not problems or not case.texts.has_chat_template:
        return None
    prompt = case.task.prompt.of(problems[0])
    shown = case.texts.exact(prompt.encode(problems[0], case.texts))[-EXAMPLE:]
    if not prompt.in_chat_format(case.texts):
        return Diagnosis(
            "chat_template",
            "note",
            "The model has a chat format and is asked in plain text: instruct models then answer worse, or never end.",
            {"chat": False, "control_tokens_in_text": len(control_tokens(prompt, case.texts))},
            "Ask in the chat format, unless the model is a base model that only has the template.",
            quoted(shown),
            {"task.prompt.chat": True},
        )
    nested = control_tokens(prompt, case.texts)
    if nested:
        return Diagnosis(
            "chat_template",
            "problem",
            f"task.prompt.text writes {nested[0]} itself, and the chat format puts the whole text into a user message: "
            "a template in a template, which no model was trained on.",
            {"control_tokens_in_text": len(nested), "first": nested[0]},
            "Leave the roles out of task.prompt.text, or ask in plain text.",
            quoted(shown),
            {"task.prompt.chat": False},
        )
    missing = missing_header(case.texts)
    if missing is None:
        return None
    return Diagnosis(
        "chat_template",
        "problem",
        f"The template does not begin the answer: behind a question it leaves out {quoted(missing)}, which stands "
        "before every answer in a conversation, so the model goes on with the user's turn.",
        {"missing": missing, "ends_with": shown[-40:]},
        "Give the model's directory the template of its makers (chat_template.jinja; it has a part under "
        "add_generation_prompt), or ask in plain text.",
        quoted(shown),
        {"task.prompt.chat": False},
    )


def control_tokens(prompt: PromptTemplate, texts: Texts) -> list[str]:
    """Return the special tokens that the wording of a prompt writes itself."""
    wording = "".join(piece for piece, is_data in prompt.pieces(_placeholder(prompt)) if not is_data)
    return [token for token in texts.tokenizer.all_special_tokens if token.strip() and token in wording]


def missing_header(texts: Texts) -> str | None:
    """Return what a template leaves out between a question and its answer where it holds a special token; else None.

    What stands before an answer in a conversation is compared with what the template ends with where an answer is next.
    Templates that add words of their own in one of the two, such as an empty thought, leave out no special token.
    """
    question, answer = PROBE
    asked_only = texts.chat.render([{"role": "user", "content": question}], answer_next=True)
    behind = texts.chat.between(question, answer)
    given = asked_only.rpartition(question)[2]
    if not behind.startswith(given):
        return None
    missing = behind[len(given) :]
    return missing if any(token in missing for token in texts.tokenizer.all_special_tokens) else None


@dataclass(frozen=True, slots=True)
class Trip:
    """A prompt's tokens, the text that they stand for, and the tokens that this text would be read as."""

    problem: Problem
    ids: tuple[int, ...]
    text: str
    again: tuple[int, ...]

    @property
    def lost(self) -> str:
        """The letters of the question that the text does not have; white space does not count."""
        there = "".join(self.text.split())
        return "".join(dict.fromkeys(c for c in "".join(self.problem.question.split()) if c not in there))

    @property
    def parting(self) -> int:
        """The place of the first token that is another one."""
        pairs = zip(self.ids, self.again, strict=False)
        return next((place for place, (old, new) in enumerate(pairs) if old != new), len(self.again))


def trip(problem: Problem, prompt: PromptTemplate, texts: Texts) -> Trip:
    """Return a prompt's way from tokens to text and back."""
    ids = prompt.encode(problem, texts)
    text = texts.exact(ids)
    return Trip(problem, tuple(ids), text, tuple(texts.tokenizer.encode(text, add_special_tokens=False)))


def prompt_tokens(case: Case) -> Diagnosis | None:
    """Does the tokenizer lose letters, begin twice, or read its own text as other tokens?"""
    if case.texts is None or case.task is None:
        return None
    trips = [trip(problem, case.task.prompt, case.texts) for problem in asked(case)]
    return _lost(trips) or _begun_twice(trips, case.texts) or _changed(trips, case.texts)


def _lost(trips: Sequence[Trip]) -> Diagnosis | None:
    losing = [trip for trip in trips if trip.lost]
    if not losing:
        return None
    letters = "".join(dict.fromkeys("".join(trip.lost for trip in losing)))
    return Diagnosis(
        "prompt_tokens",
        "problem",
        f"The tokenizer cannot write {len(losing)} of {len(trips)} questions that were looked at: the model never "
        f"sees {quoted(letters[:20])}.",
        {"prompts": len(trips), "lost": len(losing), "letters": letters},
        "Write these letters otherwise in the problems, or take the tokenizer that belongs to the model.",
        f"{quoted(losing[0].problem.question)} becomes {quoted(losing[0].text)}",
    )


def _begun_twice(trips: Sequence[Trip], texts: Texts) -> Diagnosis | None:
    first = texts.tokenizer.bos_token_id
    doubled = [trip for trip in trips if first is not None and trip.ids[:2] == (first, first)]
    if not doubled:
        return None
    return Diagnosis(
        "prompt_tokens",
        "problem",
        f"{len(doubled)} of {len(trips)} prompts begin with {texts.tokenizer.bos_token} twice: the wording or the "
        "template writes it, and the tokenizer adds its own.",
        {"prompts": len(trips), "begun_twice": len(doubled)},
        "Leave it out of task.prompt.text, or out of the template in the model's directory.",
        quoted(doubled[0].text),
    )


def _changed(trips: Sequence[Trip], texts: Texts) -> Diagnosis | None:
    changed = [trip for trip in trips if trip.ids != trip.again]
    if not changed:
        return None
    first = changed[0]
    place = first.parting
    old, new = (texts.exact(ids[place : place + 3]) for ids in (first.ids, first.again))
    return Diagnosis(
        "prompt_tokens",
        "note",
        f"{len(changed)} of {len(trips)} prompts would be read as other tokens if their text were encoded again. In "
        "training nothing changes, because engines and learner hand on token ids, never texts; whoever serves the "
        "adapter by text asks with other tokens than it was trained on.",
        {"prompts": len(trips), "changed": len(changed), "first_place": place},
        "Serve with the same chat template, and keep texts that look like control tokens out of the problems.",
        f"token {place} of problem '{first.problem.id}': {quoted(old)} becomes {quoted(new)}",
    )


def asked(case: Case) -> tuple[Problem, ...]:
    """Return the problems whose prompts are looked at: measured ones, and those that were sampled."""
    sampled = {completion.problem.id: completion.problem for completion in case.completions}
    own = case.measured if case.task is not None and case.task.num_training is None else case.training
    problems = (*own[:LOOKED_AT], *(case.measured[:LOOKED_AT] if case.task is not None else ()), *sampled.values())
    return problems[:LOOKED_AT]


def _placeholder(prompt: PromptTemplate) -> Problem:
    return Problem("", "", ("",), {name: "" for name in prompt.fields})
