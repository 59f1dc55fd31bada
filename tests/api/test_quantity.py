"""Quantities are those of kube-apiserver: the vectors of its own code, and the algebra, held against fractions."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.vectors import Data, cases, params
from webhook.api.quantity import NANO, Format, Quantity, QuantityError, from_json, parse

FILE = "quantity.json"
RESULTS: dict[str, Callable[[Data], Quantity]] = {
    "parse": lambda given: parse(given["text"]),
    "json": lambda given: from_json(json.loads(given["json"], parse_float=str)),
    "add": lambda given: parse(given["left"]) + parse(given["right"]),
    "sub": lambda given: parse(given["left"]) - parse(given["right"]),
    "roundup": lambda given: parse(given["text"]).round_up(given["scale"]),
    "neg": lambda given: -parse(given["text"]),
}


def fraction(quantity: Quantity) -> Fraction:
    return Fraction(quantity.nano, NANO)


def described(quantity: Quantity) -> Data:
    """A Quantity in the form of the vectors; numbers as Fractions."""
    rounded = quantity.round_up(-3)
    return {
        "ok": True,
        "string": str(quantity),
        "canonical": str(Quantity(quantity.nano, quantity.format)),
        "format": quantity.format.value,
        "exact": fraction(quantity),
        "roundedToMilli": str(rounded),
        "roundedExact": fraction(rounded),
        "lossless": rounded == quantity,
    }


def expected(expect: Data) -> Data:
    """The case without the roundings that the webhook never asks for."""
    used = {key: value for key, value in expect.items() if key not in ("value", "milliValue")}
    return {key: Fraction(value) if key in ("exact", "roundedExact") else value for key, value in used.items()}


@pytest.mark.parametrize(
    ("group", "given", "expect"),
    [
        pytest.param(group, case["input"], case["expect"], id=case["id"])
        for group in RESULTS
        for case in cases(FILE, group)
        if case["expect"]["ok"]
    ],
)
def test_the_result_of_an_operation_is_that_of_kubernetes(group: str, given: Data, expect: Data) -> None:
    result = described(RESULTS[group](given))
    if group == "roundup":  # there it says whether this rounding lost something, not one to milli
        result["lossless"] = fraction(RESULTS[group](given)) == fraction(parse(given["text"]))
    assert {key: result[key] for key in expected(expect)} == expected(expect)


@pytest.mark.parametrize(
    ("group", "given"),
    [
        pytest.param(group, case["input"], id=case["id"])
        for group in RESULTS
        for case in cases(FILE, group)
        if not case["expect"]["ok"]
    ],
)
def test_what_kubernetes_rejects_is_rejected(group: str, given: Data) -> None:
    with pytest.raises(QuantityError):
        RESULTS[group](given)


@pytest.mark.parametrize(("given", "expect"), params(cases(FILE, "cmp")))
def test_comparison_is_exact_whatever_the_formats(given: Data, expect: Data) -> None:
    left, right = parse(given["left"]), parse(given["right"])
    result = (left < right, left <= right, left == right, left != right, left >= right, left > right)
    sign = expect["cmp"]
    assert result == (sign < 0, sign <= 0, sign == 0, sign != 0, sign >= 0, sign > 0)


def test_every_group_of_the_vectors_is_run() -> None:
    groups = {group: len(cases(FILE, group)) for group in (*RESULTS, "cmp")}
    assert groups == {"parse": 894, "json": 18, "add": 375, "sub": 375, "roundup": 93, "neg": 2, "cmp": 377}


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1 Gi", "1\n", "1\t"),
        *("K", "1K", "1ki", "1KI", "1i", "1Mi2", "Ki1", "1e", "1e+", "1e3m", "1e1.5"),
        *("1_000", "1,5", "1.2.3", "--1", "+-1", "0x1F", "inf", "nan", "true", "1²", "٣", "１", "1e٣"),  # noqa: RUF001
    ],
)
def test_a_text_that_is_no_quantity_is_quoted_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))) as raised:
        parse(text)
    assert type(raised.value) is QuantityError
    assert str(raised.value) == (
        f"{text!r} is not a valid quantity; write a number such as 2, 500m, 1.5 or 1e3, "
        "with one of the suffixes n u m k M G T P E or Ki Mi Gi Ti Pi Ei"
    )


def cut(text: str) -> str:
    """The text as messages show it."""
    return text if len(text) <= 100 else f"{text[:100]}…"


@pytest.mark.parametrize(
    "text", ["1e512", "9" * 513, "1e5000", "9" * 4095, "1" * 600 + ".5", "0.1e514", "1e2147483647"], ids=cut
)
def test_a_number_of_more_digits_than_are_exact_is_larger_than_any_that_is(text: str) -> None:
    large, largest = parse(text), parse("9" * 512)
    assert large > largest
    assert parse(f"-{text}") < -largest
    assert large + parse("1") > largest
    assert (str(large), large.round_up(-3)) == (text, large)


@pytest.mark.parametrize("text", ["9" * 4097, "0" * 4096 + "1", "1" + "0" * 9000 + "x"], ids=cut)
def test_a_longer_text_than_is_read_is_quoted_in_the_error(text: str) -> None:
    with pytest.raises(QuantityError) as raised:
        parse(text)
    assert str(raised.value) == f"{cut(text)!r} is too long; at most 4096 characters are accepted"


@pytest.mark.parametrize(
    "text",
    # the last three: a parser that tries every way to split the digits needs minutes for each
    ["1e" + "1" * 4000, "1e-" + "1" * 4001, "0" * 4000 + "x", "9" * 4000 + "x", "." + "0" * 4000 + "x"],
    ids=["exponent", "negative exponent", "zeros", "nines", "fraction"],
)
def test_a_long_text_that_is_no_quantity_is_refused_at_once(text: str) -> None:
    with pytest.raises(QuantityError, match=re.escape(f"{cut(text)!r} is not a valid quantity")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64e-4294967296", "64"), ("16e4294967297", "160"), ("-64e-4294967296", "-64"), ("1e-4294967287", "1e9"),
        ("1.5e4294967297", "15"), ("1e9223372036854775807", "100m"), ("5e-4294967299", "5m"),
    ],
)  # fmt: skip
def test_of_an_exponent_apimachinery_keeps_32_bits(text: str, value: str) -> None:
    assert parse(text) == parse(value)


@pytest.mark.parametrize("text", ["1.5e-2147483648", "15.25e-2147483647"])
def test_a_power_that_overflows_is_larger_than_any_maximum(text: str) -> None:
    assert parse(text) > parse("9" * 512)


@pytest.mark.parametrize("text", ["1e9223372036854775808", "1e-9223372036854775809", "0e9223372036854775808"])
def test_an_exponent_beyond_64_bits_is_not_a_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="is not a valid quantity"):
        parse(text)


@pytest.mark.parametrize("text", ["Pi", "-.Ei", ".e-10", "E-12", "+.e-10"])
def test_a_suffix_without_a_number_is_rejected_where_apimachinery_computes_with_it(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


@pytest.mark.parametrize("text", ["Ki", "-.Ti", ".", "+", ".e3", "E-9", "m", "0Pi", ".0e-10"])
def test_a_suffix_without_a_number_is_zero_elsewhere(text: str) -> None:
    assert str(parse(text)) == "0"


@pytest.mark.parametrize(
    ("text", "printed"),
    [("1000E", "1"), ("-10000000000000000000k", "-10"), ("1000e18", "1e21"), ("1E", "1E"), ("999E", "999E")],
)
def test_beyond_the_last_suffix_kubernetes_prints_none(text: str, printed: str) -> None:
    assert str(parse(text)) == printed


def test_a_binary_sum_beyond_the_last_suffix_prints_none_either() -> None:
    assert str(parse("7Ei") + Quantity(parse("1Ei").nano * 1017, Format.BINARY_SI)) == "1"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0" * 4000 + "1e3", "0" * 4000 + "1e3"),
        ("0" * 4096, "0"),
        ("0." + "0" * 4000, "0"),
        ("0." + "0" * 4000 + "Ki", "0"),
        ("0e" + "0" * 4000, "0"),
        ("1e-99999", "1e-9"),
        ("-1e-4000", "-1e-9"),
        ("0." + "1" * 4000, "111111112n"),
        ("0." + "1" * 4000 + "Ki", "113777777778n"),
        ("0." + "0" * 600 + "1e600", "100e-3"),
        ("1e510", "1e510"),
        ("1" * 512, "1" * 512),
    ],
    ids=range(12),
)
def test_a_long_text_for_a_number_within_bounds_is_accepted(text: str, printed: str) -> None:
    assert str(parse(text)) == printed


@pytest.mark.parametrize(
    ("value", "quantity"),
    [
        (None, "0"),
        (2, "2"),
        (-3, "-3"),
        (1.5, "1500m"),
        (1e22, "10e21"),
        (" 500m  ", "500m"),
        (10**30, "1"),
    ],
)
def test_json_values_that_kubernetes_takes_are_taken(value: object, quantity: str) -> None:
    assert str(from_json(value)) == quantity


@pytest.mark.parametrize("value", [True, False, [], {}, float("inf"), float("nan"), "\t1", "\n1", b"1", "0x10"])
def test_json_values_that_are_no_quantity_are_quoted_in_the_error(value: object) -> None:
    with pytest.raises(
        QuantityError, match=re.escape(repr("true" if value is True else "false" if value is False else str(value)))
    ):
        from_json(value)


# Properties. A quantity is drawn as text, so that every suffix, sign, echo and rounding of the parser takes part.

DIGITS = st.text("0123456789", max_size=22)
NUMBERS = st.builds("{}.{}".format, DIGITS, DIGITS).filter(lambda text: text != ".") | st.text(
    "0123456789", min_size=1, max_size=22
)
SUFFIXES = st.sampled_from(
    ["", *"numkMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-3", "e+1", "e-9", "E18", "e40"]
)
QUANTITIES = st.builds("{}{}{}".format, st.sampled_from(["", "+", "-"]), NUMBERS, SUFFIXES).map(parse)
SCALES = st.integers(-12, 24)
NO_SUFFIX = 10**21 * NANO  # apimachinery prints multiples of it as 1, 2, and so on


@given(QUANTITIES)
@example(parse("9Ei"))
@example(parse("1.500"))
def test_what_is_printed_reads_as_the_same_value_and_prints_the_same_again(quantity: Quantity) -> None:
    assume(quantity.nano == 0 or quantity.nano % NO_SUFFIX)
    again = parse(str(quantity))
    assert (again, str(again)) == (quantity, str(quantity))


@given(QUANTITIES)
def test_the_canonical_text_is_stable(quantity: Quantity) -> None:
    text = str(Quantity(quantity.nano, quantity.format))
    again = parse(text)
    assert (again.nano, str(Quantity(again.nano, again.format))) == (quantity.nano, text)


CANONICAL = re.compile(r"0|-?[1-9][0-9]*([numkMGTPE]|[KMGTPE]i|e-?[1-9][0-9]*)?")


@given(QUANTITIES)
def test_the_canonical_text_has_no_fraction_and_the_largest_suffix(quantity: Quantity) -> None:
    text = str(Quantity(quantity.nano, quantity.format))
    assert CANONICAL.fullmatch(text)
    assert not re.match(r"-?[0-9]+000([numkMGTP]|$)", text) or quantity.format is Format.BINARY_SI


@given(st.integers(), st.integers(0, 40), st.sampled_from(["", *"numkMGTPE"]))
def test_a_decimal_text_means_its_number_rounded_up_to_nanos(number: int, places: int, suffix: str) -> None:
    sign, digits = ("-", str(-number)) if number < 0 else ("", str(number))
    digits = digits.rjust(places + 1, "0")
    text = f"{sign}{digits[: len(digits) - places]}.{digits[len(digits) - places :]}{suffix}"
    power = {suffix: 3 * index - 9 for index, suffix in enumerate(["n", "u", "m", "", *"kMGTPE"])}[suffix]
    exact = Fraction(number, 10**places) * Fraction(10) ** power * NANO
    assert parse(text).nano == away_from_zero(exact)


@given(st.sampled_from([1, -1]), st.integers(0, 2**63 - 1), st.sampled_from(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_a_binary_text_within_an_int64_means_its_number(sign: int, most: int, suffix: str) -> None:
    unit = 1024 ** (["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].index(suffix) + 1)
    number = sign * (most // unit)
    assert parse(f"{number}{suffix}").nano == number * unit * NANO


@given(QUANTITIES, SCALES)
def test_rounding_up_gives_the_next_multiple_away_from_zero_and_is_idempotent(quantity: Quantity, scale: int) -> None:
    rounded = quantity.round_up(scale)
    unit = Fraction(10) ** max(scale, -9)
    assert fraction(rounded) == away_from_zero(fraction(quantity) / unit) * unit
    assert abs(rounded.nano) >= abs(quantity.nano)
    assert (rounded.round_up(scale), str(rounded.round_up(scale))) == (rounded, str(rounded))


@given(QUANTITIES, QUANTITIES, SCALES)
def test_rounding_up_keeps_the_order(left: Quantity, right: Quantity, scale: int) -> None:
    low, high = sorted((left, right))
    assert low.round_up(scale) <= high.round_up(scale)


@given(QUANTITIES, QUANTITIES, QUANTITIES)
def test_addition_is_that_of_numbers(a: Quantity, b: Quantity, c: Quantity) -> None:
    assert fraction(a + b) == fraction(a) + fraction(b)
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)


@given(QUANTITIES, QUANTITIES)
def test_subtraction_is_the_inverse_of_addition(a: Quantity, b: Quantity) -> None:
    assert fraction(a - b) == fraction(a) - fraction(b)
    assert (a + b) - b == a
    assert a - b == a + -b
    assert (-a).nano == -a.nano


@given(QUANTITIES, QUANTITIES)
def test_a_sum_prints_in_the_format_of_its_left_operand_unless_that_is_zero(a: Quantity, b: Quantity) -> None:
    assert {(a + b).format, (a - b).format} == {a.format if a else b.format}


@given(QUANTITIES, QUANTITIES)
def test_order_equality_and_hash_are_by_value(a: Quantity, b: Quantity) -> None:
    x, y = fraction(a), fraction(b)
    assert (a < b, a <= b, a == b, a >= b, a > b) == (x < y, x <= y, x == y, x >= y, x > y)
    assert hash(a) == hash(Quantity(a.nano, Format.BINARY_SI))
    assert bool(a) == bool(x)


def test_a_quantity_is_equal_to_quantities_only() -> None:
    assert parse("1") != 1
    assert parse("1") != "1"
    assert repr(parse("1.500")) == "Quantity('1.500')"


@given(st.text("0123456789+-.eEnumkKMGTPi ٣\n", max_size=10))
def test_any_text_is_a_quantity_or_a_quantity_error_with_the_text(text: str) -> None:
    try:
        quantity: Any = parse(text)
    except QuantityError as error:
        assert repr(text) in str(error)  # noqa: PT017 - either outcome is fine, each has to be right
    else:
        assert isinstance(quantity, Quantity)


def away_from_zero(exact: Fraction) -> int:
    return -(-exact.numerator // exact.denominator) if exact > 0 else exact.numerator // exact.denominator
