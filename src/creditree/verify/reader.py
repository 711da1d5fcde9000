"""A quick reader of common formulas, for worker processes: a hundred times as fast as latex2sympy's grammar.

It reads sums, products, powers, fractions and roots of numbers, letters, pi and e. What it does not know or finds
ambiguous it leaves to the grammar, whose reading it shares (tests compare the two).
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sympy

from creditree.verify.number import MOST_DIGITS

TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<command>\\(?:frac|sqrt|pi|cdot|times)(?![A-Za-z]))"
    r"|(?P<letter>[a-zA-Z])|(?P<sign>[-+*/^(){}]))"
)
LONGEST = 4_000
"""Characters of a formula that is read: an answer, with everything in it that is written in a shorter way."""
NOT_LETTERS = frozenset("DeEiI")
"""Letters that may be an operator, a constant or the imaginary unit; only a small e is read, as the constant."""


class UnknownError(Exception):
    """The text has something that this reader does not know."""


def quickly_read(text: str) -> Any:
    """Return the formula that `text` is, unevaluated, or None where that is for the grammar to say."""
    try:
        return _Reader(_tokens(text)).all() if len(text) <= LONGEST else None
    except (UnknownError, IndexError, RecursionError):
        return None


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise UnknownError
        tokens.append(match[0].strip())
        place = match.end()
    if "d" in tokens and "\\frac" in tokens:
        raise UnknownError  # perhaps a differential
    # Two numbers side by side, or a whole number before a fraction: a product to some, a mixed number to others.
    for one, other in pairwise(tokens):
        if one[-1].isdigit() and (other[0].isdigit() or other[0] == "." or other == "\\frac"):
            raise UnknownError
        if one.isalpha() and other == "(":
            raise UnknownError  # f(x) may be a function's value
    return tokens


@dataclass(slots=True)
class _Reader:
    tokens: list[str]
    place: int = 0

    def all(self) -> Any:
        if not self.tokens:
            raise UnknownError
        formula = self.sum()
        if self.place != len(self.tokens):
            raise UnknownError
        return formula

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.tokens[self.place]
        if expected and token != expected:
            raise UnknownError
        self.place += 1
        return token

    def sum(self) -> Any:
        terms = [self.term()]
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.term()
            terms.append(term if sign == "+" else sympy.Mul(-1, term, evaluate=False))
        return terms[0] if len(terms) == 1 else sympy.Add(*terms, evaluate=False)

    def term(self) -> Any:
        if self.peek() in ("-", "+"):
            sign = self.take()
            inner = self.term()
            return inner if sign == "+" else sympy.Mul(-1, inner, evaluate=False)
        product = self.power()
        while (token := self.peek()) and token not in "+-)}":
            if token in ("*", "\\cdot", "\\times"):
                self.take()
                product = sympy.Mul(product, self.power(), evaluate=False)
            elif token == "/":
                self.take()
                product = sympy.Mul(product, sympy.Pow(self.power(), -1, evaluate=False), evaluate=False)
                if self.peek() and self.peek() not in "+-)}*/":
                    raise UnknownError  # 1/2x: a half of x, or one over 2x
            else:
                product = sympy.Mul(product, self.power(), evaluate=False)
        return product

    def power(self) -> Any:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        if self.peek() == "{":
            exponent = self.group()
        elif re.fullmatch(r"[0-9]|[a-zA-Z]", self.peek()):
            exponent = self.atom()
        else:
            raise UnknownError  # x^12 is x^1 times 2 in LaTeX, and not to who writes it
        if self.peek() == "^":
            raise UnknownError
        return sympy.Pow(base, exponent, evaluate=False)

    def atom(self) -> Any:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > MOST_DIGITS:
                raise UnknownError
            return sympy.Float(token) if "." in token else sympy.Integer(token)
        if token == "\\pi":
            return sympy.pi
        if token == "\\frac":
            top = self.group()
            return sympy.Mul(top, sympy.Pow(self.group(), -1, evaluate=False), evaluate=False)
        if token == "\\sqrt":
            return sympy.Pow(self.group(), sympy.Rational(1, 2), evaluate=False)
        if token == "e":
            return sympy.E
        if token.isalpha() and token not in NOT_LETTERS:
            return sympy.Symbol(token.lower(), real=True)
        if token == "(":
            inner = self.sum()
            self.take(")")
            return inner
        raise UnknownError

    def group(self) -> Any:
        self.take("{")
        inner = self.sum()
        self.take("}")
        return inner
