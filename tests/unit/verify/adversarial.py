"""Answers that are meant to hang a grader, to fill its memory, to crash it or to have it run code."""

import random
from collections.abc import Callable

MARKER = "creditree-was-here"
"""A file of this name would prove that an answer was executed."""

Maker = Callable[[random.Random], str]

MAKERS: dict[str, Maker] = {
    "tower of powers": lambda r: "^{".join(str(r.randint(2, 99)) for _ in range(r.randint(3, 30))) + "}" * 30,
    "tower without braces": lambda r: "^".join(["9"] * r.randint(3, 40)),
    "large power": lambda r: f"{r.randint(2, 9)}^{{{r.randint(10**6, 10**12)}}}",
    "large power of a letter": lambda r: f"(x+{r.randint(1, 9)})^{{{r.randint(10**3, 10**9)}}}",
    "factorial": lambda r: f"({r.randint(2, 9)} \\cdot 10^{{{r.randint(4, 9)}}})!",
    "factorials": lambda r: f"{r.randint(10, 99)}" + "!" * r.randint(2, 9),
    "binomial": lambda r: f"\\binom{{{10 ** r.randint(6, 20)}}}{{{10 ** r.randint(5, 19)}}}",
    "nested brackets": lambda r: "(" * (n := r.randint(50, 5000)) + "1" + ")" * n,
    "nested fractions": lambda r: "\\frac{1}{" * (n := r.randint(20, 400)) + "x" + "}" * n,
    "nested roots": lambda r: "\\sqrt{" * (n := r.randint(20, 400)) + "2" + "}" * n,
    "open braces": lambda r: "\\frac{" * r.randint(1, 300),
    "closed braces": lambda r: "}" * r.randint(1, 300) + "5",
    "brackets that do not match": lambda r: "".join(r.choice("()[]{}\\|") for _ in range(r.randint(1, 400))),
    "long digits": lambda r: str(r.randint(1, 9)) * r.randint(700, 100_000),
    "long decimals": lambda r: "0." + "3" * r.randint(700, 100_000),
    "long text": lambda r: "".join(r.choice("ab \\{}$^_") for _ in range(100_000)),
    "long sum": lambda r: "+".join(f"x_{{{r.randint(1, 99)}}}" for _ in range(r.randint(100, 1000))),
    "large exponent": lambda r: f"1e{r.randint(10**3, 10**9)}",
    "small exponent": lambda r: f"1e-{r.randint(10**3, 10**9)}",
    "surrogates": lambda r: "".join(chr(r.randint(0xD800, 0xDFFF)) for _ in range(r.randint(1, 50))) + "5",
    "null bytes": lambda r: "5" + "\0" * r.randint(1, 50) + str(r.randint(0, 9)),
    "right to left": lambda r: "\u202e" + str(r.randint(10, 99)) + "\u202c\u200f",
    "combining marks": lambda r: "5" + "\u0301" * r.randint(1, 3000),
    "other digits": lambda r: "".join(chr(0x0660 + r.randint(0, 9)) for _ in range(5)),
    "system": lambda r: f"__import__('os').system('touch {MARKER}{r.randint(0, 9)}')",
    "open": lambda r: f"open('{MARKER}{r.randint(0, 9)}', 'w').write('x')",
    "eval in braces": lambda r: f"\\text{{__import__('pathlib').Path('{MARKER}').touch()}} + {r.randint(0, 9)}",
    "lambda": lambda r: f"(lambda: exec('open(\"{MARKER}\",\"w\")'))() + {r.randint(0, 9)}",
    "input in LaTeX": lambda r: f"\\input{{/etc/passwd}} \\write18{{touch {MARKER}}} {r.randint(0, 9)}",
    "macro": lambda r: "\\def\\x{\\x\\x}\\x" * r.randint(1, 50),
    "long sum of series": lambda r: f"\\sum_{{k=1}}^{{{10 ** r.randint(5, 30)}}} \\sin(k)",
    "product": lambda r: f"\\prod_{{k=1}}^{{{10 ** r.randint(5, 12)}}} (1+\\frac{{1}}{{k^2}})",
    "integral": lambda r: f"\\int_0^1 \\sin(\\sin(\\sin(x^{{{r.randint(2, 9)}x}}))) dx",
    "limit": lambda r: f"\\lim_{{x \\to 0}} \\frac{{\\sin(x^{{{r.randint(20, 90)}}})}}{{x^{{{r.randint(20, 90)}}}}}",
    "matrix": lambda r: "\\begin{pmatrix}" + "1 & " * r.randint(100, 900) + "\\end{pmatrix}",
    "large determinant": lambda r: "\\det(" + "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}" * r.randint(2, 30) + ")",
    "many equations": lambda r: "=".join(["x"] * r.randint(10, 500)),
    "huge set": lambda r: "\\{" + ",".join(map(str, range(r.randint(100, 900)))) + "\\}",
    "huge interval": lambda r: "\\cup".join(f"({k},{k + 1})" for k in range(r.randint(20, 200))),
    "modulus": lambda r: f"{r.randint(2, 9)}^{{{10 ** r.randint(9, 30)}}} \\mod 7",
    "polynomials": lambda r: "(x^2+y^2+z^2+1)" * r.randint(5, 60) + f"^{{{r.randint(5, 40)}}}",
    "trigonometry": lambda r: "\\sin(" * (n := r.randint(5, 60)) + "x" + ")" * n,
    "separators between digits": lambda r: "1" + ",\\," * (n := r.randint(20, 200)) + "x" * (n % 2),
    "groups and a noun": lambda r: "1" + ",\\!000" * r.randint(20, 80) + "\\text{ grains}",
    "opened formulas": lambda r: "\\(" * r.randint(100, 50_000),
    "opened dollars": lambda r: "$a$ $" * r.randint(100, 20_000),
    "amounts": lambda r: "$5 and " * r.randint(100, 20_000),
    "opened boxes": lambda r: "\\boxed{" * r.randint(100, 20_000),
    "cues": lambda r: "the answer is " * r.randint(100, 10_000),
    "headings": lambda r: "#### x " * r.randint(100, 20_000),
    "links": lambda r: "x is " * r.randint(100, 20_000),
    "opened asides": lambda r: "1 (" * r.randint(100, 20_000),
    "stars": lambda r: "*" * r.randint(100, 50_000),
    "spaces between digits": lambda r: "1 " * r.randint(100, 50_000),
    "spaces behind a digit": lambda r: "1" + " " * r.randint(100, 50_000) + "x",
    "opened tags": lambda r: "<answer>" * r.randint(100, 20_000),
    "opened thoughts": lambda r: "<think>" * r.randint(100, 20_000),
    "boxes in a row": lambda r: "\\boxed{1} and " * r.randint(100, 10_000),
    "figures raised": lambda r: "x²" * r.randint(100, 50_000),
    "empty box": lambda r: " " * r.randint(0, 9),
    "noise": lambda r: "".join(chr(r.randint(1, 0x2FFF)) for _ in range(r.randint(1, 500))),
}  # fmt: skip
TRUTHS = ("5", "\\frac{1}{2}", "x^2+1", "2\\sqrt{3}", "(1,2]", "\\{1,2\\}", "y = 2x", "\\text{even}", "3\\pi")


def adversarial(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return kinds, completions and accepted answers; the same ones for the same seed."""
    rng = random.Random(seed)
    kinds = list(MAKERS)
    made = []
    for index in range(count):
        kind = kinds[index % len(kinds)]
        answer = MAKERS[kind](rng)
        form = rng.choice(("\\boxed{%s}", "The answer is $%s$.", "so \\fbox{%s}", "</think> \\boxed{%s", "%s"))
        made.append((kind, form.replace("%s", answer), rng.choice(TRUTHS)))
    return made
