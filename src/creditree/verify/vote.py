"""What completions of one problem vote for when several of them decide together by majority."""

from collections.abc import Sequence

from creditree.problem import Verdict
from creditree.verify.verifier import Answer, Verifier

LONGEST = 200
"""A longer answer is no vote: nobody else will give it."""


def votes(verifier: Verifier, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> list[str | None]:
    """Return the vote of each judged completion: the answer that was judged, None for an abstention.

    Completions of one problem have equal votes if their answers are one answer to the verifier (`Verifier.same`): the
    vote is then the one that was given first. An answer that cannot be compared in time is a vote of its own.
    """
    known: dict[str, dict[str, str]] = {}
    winners: list[str | None] = []
    for answer, verdict in zip(answers, verdicts, strict=True):
        given = verdict.answer
        if not given or len(given) > LONGEST:
            winners.append(None)
            continue
        own = known.setdefault(answer.problem.id, {})
        if given not in own:
            own[given] = _first_same(verifier, given, list(dict.fromkeys(own.values())))
        winners.append(own[given])
    return winners


def _first_same(verifier: Verifier, given: str, others: Sequence[str]) -> str:
    """Return the first of the other answers that is the same, else `given`; one comparison in vain is the last."""
    for other in others:
        same = verifier.same(given, other)
        if same is None:
            break
        if same:
            return other
    return given
