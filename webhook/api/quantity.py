"""`resource.Quantity` of Kubernetes, exact: an integer number of nanos and the format it prints in.

The rules are those of k8s.io/apimachinery `pkg/api/resource` (quantity.go, suffix.go, amount.go), including the cap at
2^63-1 and the verbatim echo of some inputs. The module uses neither float nor Decimal.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final


class Format(Enum):
    """The format in which a Quantity prints: 12M, 12Mi or 12e6."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


NANO: Final = 10**9  # nanos in one unit
MAX_INT64: Final = 2**63 - 1
MAX_LENGTH: Final = 4096  # characters of a text; CPython converts no more than 4300 digits
# Digits before the point up to which a number is exact. Kubernetes computes with any number of digits. Here all larger
# numbers are equal, and larger than any exact one.
EXACT_DIGITS: Final = 512
BEYOND: Final = 10**EXACT_DIGITS * NANO  # nanos of a number with more digits
MAX_SHOWN_LENGTH: Final = 100  # characters of a text in a message

_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_SUFFIX: Final = ("", *_BINARY)
_SYNTAX: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<zeros>0*+)(?P<whole>[0-9]*+)(?:\.(?P<fraction>[0-9]*+))?"
    r"(?:(?P<decimal>[numkMGTPE]?)|(?P<binary>[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]{1,4000}))"
)
ACCEPTED: Final = (
    "a number such as 2, 500m, 1.5 or 1e3, with one of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei"
)


class QuantityError(ValueError):
    """A text that is not a valid quantity; the message quotes it and says what is accepted."""

    def __init__(self, text: str, reason: str = f"not a valid quantity; write {ACCEPTED}") -> None:
        shown = text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
        super().__init__(f"{shown!r} is {reason}")


class Quantity:
    """An immutable amount; equality and order compare values, not formats."""

    __slots__ = ("_scale", "_text", "format", "nano")

    nano: int
    format: Format
    _text: str | None  # what it prints as: the echoed input, or the canonical form once computed
    _scale: int  # the power of ten of the last digit of an echoed input

    def __init__(self, nano: int, format: Format = Format.DECIMAL_SI, text: str | None = None, scale: int = 0) -> None:
        """Create an amount of `nano` billionths that prints as `text`, else in `format`."""
        self.nano = nano
        self.format = format
        self._text = text
        self._scale = scale

    def __str__(self) -> str:
        """Return the text that Kubernetes prints: the input where it counts as canonical, else the canonical form."""
        if self._text is None:
            self._text = _canonical(self.nano, self.format)
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    # All four are spelled out: every Pod needs them, and total_ordering costs three times as much.
    def __lt__(self, other: "Quantity") -> bool:
        return self.nano < other.nano

    def __le__(self, other: "Quantity") -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: "Quantity") -> bool:
        return self.nano > other.nano

    def __ge__(self, other: "Quantity") -> bool:
        return self.nano >= other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    @property
    def identity(self) -> tuple[str, Format, int]:
        """The key that differs between amounts of the same value that print differently, alone or in a sum."""
        return str(self), self.format, self._scale

    def __add__(self, other: "Quantity") -> "Quantity":
        """Return the sum, in the format of the left operand unless that is zero."""
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        """Return the difference, in the format of the left operand unless that is zero."""
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nano, self.format)

    def round_up(self, scale: int) -> "Quantity":
        """Round away from zero to a multiple of 10^scale; API defaulting uses -3."""
        if scale <= -9:
            return self
        unit = 10 ** (scale + 9)
        rounded = _away_from_zero(self.nano, unit) * unit
        if rounded == self.nano and (self._text is None or self._scale >= scale):
            return self
        return Quantity(rounded, self.format)


ZERO: Final = Quantity(0)


def parse(text: str) -> Quantity:
    """Return the Quantity that `text` stands for; raise QuantityError where Kubernetes does not accept it."""
    return (_memoised if len(text) <= MAX_SHOWN_LENGTH else _parse)(text)


def _parse(text: str) -> Quantity:
    if len(text) > MAX_LENGTH:
        raise QuantityError(text, f"too long; at most {MAX_LENGTH} characters are accepted")
    match = _SYNTAX.fullmatch(text)
    if match is None or text == "":
        raise QuantityError(text)
    whole, fraction = match["whole"] or "0", match["fraction"] or ""
    exponent = _exponent(match, len(fraction))
    if not (whole + fraction).strip("0"):
        if not (match["zeros"] or match["fraction"]) and not _reads_no_digits(match, exponent):
            raise QuantityError(text)
        return Quantity(0, _format(match))
    if not match["binary"] and _whole_digits(whole, fraction, exponent) > EXACT_DIGITS:
        return Quantity(-BEYOND if match["sign"] == "-" else BEYOND, _format(match), text)
    nano, format, echo = (_binary if match["binary"] else _decimal)(whole, fraction, exponent)
    nano, format = -nano if match["sign"] == "-" else nano, format or _format(match)
    return Quantity(nano, format) if echo is None else Quantity(nano, format, text, echo)


_memoised: Final = lru_cache(maxsize=8192)(_parse)


def _whole_digits(whole: str, fraction: str, exponent: int) -> int:
    """Return how many digits the decimal number has before its point, negative for zeros behind it."""
    return len((whole + fraction).lstrip("0")) - len(fraction) + exponent


def from_json(value: object) -> Quantity:
    """Decode as `Quantity.UnmarshalJSON` does: a text trimmed of blanks, a bare number, or null for zero."""
    if isinstance(value, str):
        return parse(value.strip(" "))
    if value is None:
        return ZERO
    if isinstance(value, int | float) and not isinstance(value, bool):
        return parse(str(value))
    raise QuantityError(str(value).lower() if isinstance(value, bool) else str(value))


def _reads_no_digits(match: re.Match[str], exponent: int) -> bool:
    """Return whether apimachinery reads a suffix without a number as zero: only its fast path does."""
    return exponent <= 40 if match["binary"] else exponent >= -9


def _format(match: re.Match[str]) -> Format:
    if match["binary"]:
        return Format.BINARY_SI
    return Format.DECIMAL_EXPONENT if match["exponent"] else Format.DECIMAL_SI


def _exponent(match: re.Match[str], fraction: int) -> int:
    """Return the power of ten that the suffix stands for, or of two for a binary suffix.

    apimachinery reads an exponent as an int64 and keeps 32 bits of it, so that 64e-4294967296 is 64. The power of the
    last digit of a fraction overflows too; where its two ways of computing that differ, the larger counts here.
    """
    if match["binary"]:
        return _BINARY[match["binary"]]
    if not match["exponent"]:
        return _DECIMAL[match["decimal"]]
    exponent = int(match["exponent"])
    if not -MAX_INT64 - 1 <= exponent <= MAX_INT64:
        raise QuantityError(match[0])
    kept = _int32(exponent)
    return max(_int32(kept - fraction), -_int32(fraction - kept)) + fraction


def _int32(number: int) -> int:
    """Return what Go's int32() makes of the number."""
    return (number + 2**31) % 2**32 - 2**31


def _decimal(whole: str, fraction: str, exponent: int) -> tuple[int, Format | None, int | None]:
    """Return the nanos rounded up, the format if not the input's, and the last digit's power if the input is echoed."""
    digits, scale = whole + fraction, exponent - len(fraction)
    fits = len(digits) <= 18 and scale >= -9  # what apimachinery keeps in an int64
    echoed = fits and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
    return _nanos(int(digits), scale + 9), None, scale if echoed else None


def _nanos(amount: int, shift: int) -> int:
    """Return amount x 10^shift, rounded up: a nonzero amount never becomes zero."""
    if shift >= 0:
        return amount * int(10**shift)
    return _away_from_zero(amount, 10**-shift) if -shift <= MAX_LENGTH else 1


def _binary(whole: str, fraction: str, exponent: int) -> tuple[int, Format | None, int | None]:
    """Return the same as _decimal; an amount that apimachinery cannot keep in an int64 is capped."""
    nano = _away_from_zero((int(whole + fraction) << exponent) * NANO, 10 ** len(fraction))
    if not fraction and len(whole) + exponent * 3 // 10 <= 14:
        return nano, None, 0 if int(whole) & 7 else None
    nano = min(nano, MAX_INT64 * NANO)
    return nano, Format.DECIMAL_SI if nano < NANO else None, None


def _away_from_zero(number: int, unit: int) -> int:
    return -(-number // unit) if number > 0 else number // unit


def _canonical(nano: int, format: Format) -> str:
    """Print without a fraction, with the largest suffix that leaves a whole number before it.

    From 10^21 and 2^70 on there is no suffix for this, and apimachinery (at least up to 0.37) prints none.
    """
    if nano == 0:
        return "0"
    if format is Format.BINARY_SI and abs(nano) >= 1024 * NANO and nano % NANO == 0:
        whole = nano // NANO
        power = ((whole & -whole).bit_length() - 1) // 10  # zeros at its end, ten bits at a time
        return f"{whole >> 10 * power}{_BINARY_SUFFIX[power] if power < len(_BINARY_SUFFIX) else ''}"
    digits = str(nano)
    power = (len(digits) - len(digits.rstrip("0"))) // 3
    amount, exponent = digits[: len(digits) - 3 * power], 3 * power - 9
    if format is Format.DECIMAL_EXPONENT:
        return f"{amount}e{exponent}" if exponent else amount
    return f"{amount}{_DECIMAL_SUFFIX.get(exponent, '')}"
