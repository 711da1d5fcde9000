"""What models plausibly answer where a reference answer is a number and more, and whether completions do."""

import re
from fractions import Fraction

from creditree.verify.characters import cleaned
from creditree.verify.number import plain_number

_FORMULA = re.compile(r"[0-9\\^=+{}]")
_NUMBER = r"[-+]?(?:[0-9]{1,3}(?>(?:,[0-9]{3})+)|[0-9]++)(?>(?:\.[0-9]++)?)"
_IN_TEXT = re.compile(rf"(?<![0-9A-Za-z.,]){_NUMBER}(?![0-9A-Za-z])|(?<![\w.]){_NUMBER}")
_COMMA = re.compile(
    r"(?<![0-9.,])[0-9]{1,3}(?>(?:\.[0-9]{3})*),(?:[0-9]{1,2}|[0-9]{4,})(?![0-9,.])|(?<![0-9.,])0,[0-9]++(?![0-9,.])"
)
# The number of an amount: nothing before it but a currency or "x =", and no other number behind it.
_AMOUNT = re.compile(rf"(?:[^\W\d_]\w{{0,9}} ?= ?|[$€£¥₹]|[A-Z]{{2,3}} )?(?P<number>{_NUMBER})(?P<rest>[^0-9]*)")


def has_formula(answer: str) -> bool:
    """Return whether an answer has a sign of a number or formula."""
    return _FORMULA.search(cleaned(answer)) is not None


def decimal_comma(answer: str) -> bool:
    """Return whether the number of an answer has a comma where no group of three digits follows, and no list is meant.

    ``54,50 €``, ``0,125`` and ``1.234,5`` have one; ``1,234``, ``3, 5`` and ``(3,5)`` have not.
    """
    text = cleaned(answer)
    return text[:1] not in "([{" and len(_COMMA.findall(text)) == 1 and text.count(",") == 1


def number_alone(answer: str) -> str | None:
    """Return the number that a model may answer with in place of an answer that is a number and more; None otherwise.

    54 for ``54 pens``, ``$54``, ``54 %`` and ``x = 54``; 12 for full-width digits; 54.50 for ``54,50``; nothing for
    ``54``, ``x + 54``, ``54 of 60``, ``Room 12`` or a formula.
    """
    text = cleaned(answer).removesuffix(".")
    if decimal_comma(answer):
        whole, _, decimals = _COMMA.search(text)[0].partition(",")  # type: ignore[index]
        text = _COMMA.sub(f"{whole.replace('.', '')}.{decimals}", text)
    match = _AMOUNT.fullmatch(text)
    if match is None or re.search(r"[\\^_/*+={}]", match["rest"]):
        return None
    number = match["number"].removeprefix("+")
    return None if number == answer.strip().removesuffix(".") else number


def numbers_in(text: str) -> list[Fraction]:
    """Return the plain numbers that a text contains, in their order."""
    numbers = (plain_number(match[0].rstrip(".")) for match in _IN_TEXT.finditer(cleaned(text)))
    return [number.value for number in numbers if number is not None]
