"""`resource.Quantity` of Kubernetes, exact: an integer number of nanos and the format it prints in.

The rules are those of k8s.io/apimachinery `pkg/api/resource` (quantity.go, suffix.go, amount.go), the cap at
2^63-1 and the verbatim echo of some inputs included. No float and no Decimal takes part.
"""

import re
from enum import Enum
from functools import lru_cache, total_ordering
from typing import Final


class Format(Enum):
    """How a Quantity prints: 12M, 12Mi or 12e6."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


NANO: Final = 10**9  # nanos in one unit
MAX_INT64: Final = 2**63 - 1
# The longest number that is computed with. Kubernetes takes longer ones; CPython refuses to print them.
MAX_DIGITS: Final = 4000

_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_SUFFIX: Final = ("", *_BINARY)
_SYNTAX: Final = re.compile(
    r"(?P<sign>[+-]?)0*(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:(?P<decimal>[numkMGTPE]?)|(?P<binary>[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]+))"
)
_ACCEPTED: Final = "a number such as 2, 500m, 1.5 or 1e3, with one of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei"


class QuantityError(ValueError):
    """A text is no Kubernetes quantity; the message quotes it and says what would be one."""

    def __init__(self, text: str, reason: str = f"not a quantity; write {_ACCEPTED}") -> None:
        super().__init__(f"{text!r} is {reason}")


@total_ordering
class Quantity:
    """An immutable amount; equality and order are by value, whatever the formats."""

    __slots__ = ("_scale", "_text", "format", "nano")

    nano: int
    format: Format
    _text: str | None  # what it prints as: the input echoed, or the canonical form once asked for
    _scale: int  # the power of ten of the last digit of an echoed input

    def __init__(self, nano: int, format: Format = Format.DECIMAL_SI) -> None:
        """An amount of `nano` billionths, printed in `format`."""
        self.nano = nano
        self.format = format
        self._text = None
        self._scale = 0

    def __str__(self) -> str:
        """The text Kubernetes prints: the input where it counts as canonical, else the canonical form."""
        if self._text is None:
            self._text = _canonical(self.nano, self.format)
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        """False for zero."""
        return self.nano != 0

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, in the format of the left operand unless that is zero."""
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        """The difference, in the format of the left operand unless that is zero."""
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nano, self.format)

    def round_up(self, scale: int) -> "Quantity":
        """Rounded away from zero to a multiple of 10^scale; -3 is what API defaulting does."""
        if scale <= -9:
            return self
        unit = 10 ** (scale + 9)
        rounded = _away_from_zero(self.nano, unit) * unit
        if rounded == self.nano and (self._text is None or self._scale >= scale):
            return self
        return Quantity(rounded, self.format)

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _away_from_zero(self.nano, NANO)

    @property
    def milli_value(self) -> int:
        """Thousandths, rounded away from zero."""
        return _away_from_zero(self.nano, NANO // 1000)


ZERO: Final = Quantity(0)


@lru_cache(maxsize=8192)
def parse(text: str) -> Quantity:
    """The Quantity that `text` stands for; QuantityError where Kubernetes takes no such text."""
    match = _SYNTAX.fullmatch(text)
    if match is None or text == "":
        raise QuantityError(text)
    whole = match["whole"] or "0"
    fraction = match["fraction"] or ""
    negative = match["sign"] == "-"
    if match["binary"]:
        return _binary(text, negative, whole, fraction, _BINARY[match["binary"]])
    if match["exponent"]:
        exponent = int(match["exponent"]) if len(match["exponent"]) < 12 else MAX_DIGITS + 1
        return _decimal(text, negative, whole, fraction, exponent, Format.DECIMAL_EXPONENT)
    return _decimal(text, negative, whole, fraction, _DECIMAL[match["decimal"] or ""], Format.DECIMAL_SI)


def from_json(value: object) -> Quantity:
    """As `Quantity.UnmarshalJSON`: a text trimmed of blanks, a bare number, or null for zero."""
    if isinstance(value, str):
        return parse(value.strip(" "))
    if value is None:
        return ZERO
    if isinstance(value, int | float) and not isinstance(value, bool):
        return parse(str(value))
    raise QuantityError(str(value))


def _decimal(text: str, negative: bool, whole: str, fraction: str, exponent: int, format: Format) -> Quantity:
    digits = whole + fraction
    scale = exponent - len(fraction)
    if max(len(digits), len(whole) + exponent) > MAX_DIGITS and digits.strip("0"):
        raise QuantityError(text, f"too long; at most {MAX_DIGITS} digits are accepted")
    quantity = Quantity(_signed(negative, _nanos(digits, scale)), format)
    exact_in_int64 = len(digits) <= 18 and scale >= -9
    if exact_in_int64 and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0":
        quantity._text, quantity._scale = text, scale
    return quantity


def _nanos(digits: str, scale: int) -> int:
    """digits x 10^scale in nanos, rounded up: a non-zero amount never becomes zero."""
    amount = int(digits[:MAX_DIGITS])
    shift = scale + 9
    if shift >= 0:
        return amount * 10**shift
    return _away_from_zero(amount, 10**-shift) if -shift <= MAX_DIGITS else int(amount > 0)


def _binary(text: str, negative: bool, whole: str, fraction: str, exponent: int) -> Quantity:
    if len(whole) + len(fraction) > MAX_DIGITS:
        raise QuantityError(text, f"too long; at most {MAX_DIGITS} digits are accepted")
    amount = int(whole + fraction) << exponent
    nano = _away_from_zero(amount * NANO, 10 ** len(fraction))
    if not fraction and 15 - len(whole) - exponent * 3 // 10 - 1 >= 0:  # what apimachinery keeps in an int64
        quantity = Quantity(_signed(negative, nano), Format.BINARY_SI)
        if int(whole) & 7:
            quantity._text = text
        return quantity
    nano = min(nano, MAX_INT64 * NANO)
    format = Format.DECIMAL_SI if 0 < nano < NANO else Format.BINARY_SI
    return Quantity(_signed(negative, nano), format)


def _signed(negative: bool, nano: int) -> int:
    return -nano if negative else nano


def _away_from_zero(number: int, unit: int) -> int:
    return -(-number // unit) if number > 0 else number // unit


def _canonical(nano: int, format: Format) -> str:
    """No fraction, and the largest suffix that leaves a whole number before it."""
    if nano == 0:
        return "0"
    if format is Format.BINARY_SI and abs(nano) >= 1024 * NANO and nano % NANO == 0:
        amount, power = _without_factors(nano // NANO, 1024, len(_BINARY))
        return f"{amount}{_BINARY_SUFFIX[power]}"
    amount, power = _without_factors(nano, 1000, MAX_DIGITS)
    exponent = 3 * power - 9
    if format is Format.DECIMAL_EXPONENT:
        return f"{amount}e{exponent}" if exponent else str(amount)
    # Beyond 10^18 no suffix exists; the exponent keeps the value (apimachinery master, quantity.go).
    return f"{amount}{_DECIMAL_SUFFIX.get(exponent, f'e{exponent}')}"


def _without_factors(number: int, factor: int, most: int) -> tuple[int, int]:
    times = 0
    while times < most and number % factor == 0:
        number //= factor
        times += 1
    return number, times
