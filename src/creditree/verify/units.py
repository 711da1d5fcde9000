"""Units of measure behind or before a number: which words are one, and which two mean different things."""

import re
from dataclasses import dataclass
from fractions import Fraction

# Each line: the dimension, the names of a unit, and its size there. Each currency is a dimension of its own.
_MEASURES = """
length: m meter metre = 1
length: cm centimeter centimetre = 1/100
length: mm millimeter millimetre = 1/1000
length: km kilometer kilometre = 1000
length: in inch inche = 127/5000
length: ft foot feet = 381/1250
length: yd yard = 1143/1250
length: mi mile = 201168/125
mass: g gram = 1
mass: mg milligram = 1/1000
mass: kg kilogram = 1000
mass: tonne = 1000000
mass: lb = 45359237/100000
time: s sec second = 1
time: ms millisecond = 1/1000
time: min minute = 60
time: h hr hour = 3600
time: day = 86400
time: week wk = 604800
months: month = 1
months: year yr = 12
volume: l liter litre = 1
volume: ml milliliter millilitre = 1/1000
data: kb = 1
data: mb = 1000
data: gb = 1000000
data: tb = 1000000000
energy: j = 1
energy: kj = 1000
energy: kwh = 3600000
power: w = 1
power: kw = 1000
frequency: hz = 1
frequency: khz = 1000
degrees: ° deg degree = 1
radians: rad radian = 1
celsius: °c ℃ = 1
fahrenheit: °f ℉ = 1
dollars: $ usd dollar buck = 1
euros: € eur euro = 1
pounds: £ gbp = 1
yen: ¥ jpy yen = 1
rupees: ₹ inr rs rupee = 1
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _measures() -> dict[str, tuple[str, Fraction]]:
    """Return dimension and size of every known unit, by its names."""
    known: dict[str, tuple[str, Fraction]] = {}
    for line in _MEASURES.strip().splitlines():
        dimension, _, rest = line.partition(": ")
        names, _, size = rest.rpartition(" = ")
        known |= dict.fromkeys(names.split(), (dimension, Fraction(size)))
    return known


KNOWN = _measures()
SHORT = _words(
    "cm mm km dm nm um µm μm ft in yd mi kg mg lb lbs oz hr hrs min sec ms ml mL cl dl GB MB KB kB TB kWh Wh kW MW kJ"
    " cal mph kph bpm rpm Hz kHz MHz GHz Pa kPa mol eV dB kV mV mA °C °F th st nd rd pcs pc yr yrs wk am pm AM PM px sq"
    " cu pts ppm gal qt pt km/h m/s cm/s ft/s kg/m g/cm ha ac lx lm Rs USD EUR sqft ¢ ct cts"
)
"""Abbreviations that are units wherever they stand behind a number; other words need three letters and a space."""
SINGLE = _words("m s h g l L N J W V A K C F L T ° ' \" Ω ℃ ℉ ′ ″ ¢")
"""Single characters that are units behind a number and a space; other letters may be variables."""
NO_UNITS = _words(
    "and or to plus minus times over mod modulo if when unless than squared cubed factorial not pi sqrt sin"
    " cos tan cot sec csc log ln exp max min gcd lcm det alpha beta gamma theta lambda mu sigma phi omega"
    " infinity infty divided multiplied choose tenths hundredths thousandths thirds halves"
)
"""Words that make something else of the number before them."""
FILLERS = _words("a an the of in at on by is it as we he my so no each per")
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5,
          "crore": 10**7, "千": 10**3, "万": 10**4, "萬": 10**4, "만": 10**4, "亿": 10**8, "億": 10**8,
          "억": 10**8}  # fmt: skip
PERCENTS = _words("percent pct percentage prozent")

WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|mathrm|mathbf|mathit|mathsf|mbox|hbox|operatorname|rm|emph)\s?\{([^{}]*)\}"
)
SYMBOLS = (
    ("^\\circ", "°"), ("^{\\circ}", "°"), ("\\degree", "°"), ("\\circ", "°"), ("^o", "°"), ("\\Omega", "Ω"),
    ("\\mu", "µ"), ("\\cdot", "·"), ("\\pounds", "£"), ("\\euro", "€"), ("\\yen", "¥"), ("\\%", "%"), ("\\$", "$"),
)  # fmt: skip
ROMAN = re.compile(r"\{\\(?:rm|bf|it)(?![A-Za-z])([^{}]*)\}")
OVER = re.compile(r"\\[dt]?frac\s?\{(\\(?:text|mathrm)\s?\{[^{}]*\})\}\s?\{(\\(?:text|mathrm)\s?\{[^{}]*\})\}")
STOPPED = re.compile(r"(?<![A-Za-z.])(?:[A-Za-z]\.){1,3}[A-Za-z](?![A-Za-z])\.?")
"""An abbreviation with a stop behind every letter: p.m., m.p.h."""
GAPS = re.compile(
    r"\\[hv]space\*?\s?\{[^{}]*\}|\\[,;:! ]|~|\\q?quad(?![A-Za-z])|\\(?:left|right|displaystyle)(?![A-Za-z])"
)
EXPONENT = re.compile(r"\s?\^\s?\{?\s?-?[1-4]\s?\}?")
WORDS = re.compile(r"[^\W\d_]+(?:[/·][^\W\d_]+)*|[°℃℉′″'\"$€£¥₹₩₽¢%µ]+[^\W\d_]?")
REST = re.compile(r"[^\d_^\\{}=+<>*|\[\]&#@~]*+")


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands behind a number: its words as one text, the number it scales by, and whether it says percent."""

    name: str = ""
    scale: int = 1
    is_percent: bool = False


NO_UNIT = Unit()


def unit_of(rest: str) -> Unit | None:
    """Return the unit that all of `rest`, which stands right behind a number, is; None where it is something else.

    A unit is any word of three letters or more in any script, an abbreviation of `SHORT`, a symbol, or any words in
    ``\\text{}`` and its like, with exponents. A single letter is one in ``\\text{}``, and behind a space where it is a
    symbol of physics, as else it may be a variable: 5x and 5 x are products.
    """
    if not rest.strip(" .,"):
        return NO_UNIT
    for symbol, plain in SYMBOLS:
        rest = rest.replace(symbol, plain)
    rest = OVER.sub(r"\1/\2", ROMAN.sub(r"\\text{\1}", rest)) if "{\\" in rest else rest
    rest = STOPPED.sub(lambda match: match[0].replace(".", ""), rest) if "." in rest else rest
    wrapped = WRAPPED.search(rest) is not None
    rest = WRAPPED.sub(lambda match: f" {match[1]} ", rest)
    plain_rest = re.sub(r"\s*+/\s*+", "/", GAPS.sub(" ", rest))
    exponents = "".join(re.findall(r"[2-4]", "".join(EXPONENT.findall(plain_rest))))
    plain_rest = EXPONENT.sub("", plain_rest)
    if REST.fullmatch(plain_rest) is None:
        return None
    words = WORDS.findall(plain_rest)
    inches = words[-1:] == ["in"]  # at the end "in" has nothing to lead to, so it is the unit
    words = [word for word in words if word.casefold() not in FILLERS] + ["in"] * inches
    if not words:
        return None
    if not wrapped and not _may_touch(plain_rest, words[0]):
        return None
    if any(not _is_unit(word, wrapped or word.isascii() is False) for word in words):
        return None
    return _unit(words, exponents)


def differ(one: str, other: str) -> bool | Fraction:
    """Return how many of `other` one of `one` is where both are known; True where they measure different things.

    False where one of them is not known, so that nothing can be said.
    """
    first, second = _known(one), _known(other)
    if first is None or second is None:
        return False
    return first[1] / second[1] if first[0] == second[0] else True


def _unit(words: list[str], exponents: str) -> Unit | None:
    kept: list[str] = []
    scale, is_percent = 1, False
    for word in words:
        lowered = word.casefold()
        if lowered in PERCENTS:
            is_percent = True
        elif lowered.removesuffix("s") in SCALES and not kept:
            scale *= SCALES[lowered.removesuffix("s")]
        elif word[0] in SCALES and not kept:
            scale *= SCALES[word[0]]
        else:
            kept.append(lowered)
    return Unit(" ".join(kept) + exponents, scale, is_percent)


def _may_touch(rest: str, word: str) -> bool:
    """Return whether a word may stand right behind a number, without a space: 5cm and 42개, but not 5x."""
    return not rest.startswith(word) or not word.isascii() or word in SHORT or not word[0].isalpha()


def _is_unit(word: str, free: bool) -> bool:
    if word.casefold() in NO_UNITS:
        return False
    if free or not word[0].isalpha() or word in SHORT or "/" in word:
        return True
    return word in SINGLE if len(word) == 1 else len(word) > 2


def _known(unit: str) -> tuple[str, Fraction] | None:
    name = unit.replace("squared", "").strip()
    exponent = {"2": 2, "3": 3}.get(name[-1:], 1)
    name = name.rstrip("234").strip()
    for word, power in (("square ", 2), ("sq ", 2), ("cubic ", 3)):
        if name.startswith(word):
            name, exponent = name.removeprefix(word), power
    known = KNOWN.get(name) or (KNOWN.get(name.removesuffix("s")) if len(name) > 2 else None)
    return None if known is None else (f"{known[0]}{exponent}", known[1] ** exponent)
