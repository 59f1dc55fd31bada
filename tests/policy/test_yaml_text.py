"""YAML becomes plain data, and all its errors are reported at once, with line and column."""

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.process import EXAMPLES
from webhook.policy import yaml_text
from webhook.policy.yaml_text import Document, Problem, ProblemsError, load_all, read_all


def loaded(text: str, *, strict: bool) -> list[Document]:
    if not strict:
        return load_all(text, "f.yaml")
    documents = read_all(text, "f.yaml", strict=True)
    if found := [problem for document in documents for problem in document.problems]:
        raise ProblemsError("f.yaml", found)
    return documents


def data(text: str, *, strict: bool = False) -> list[Any]:
    return [document.data for document in loaded(text, strict=strict)]


def problems(text: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(ProblemsError) as raised:
        loaded(text, strict=strict)
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("", []),
        ("# nothing", []),
        ("---", []),
        ("null", []),
        ("---\n---\na: 1\n---\n# nothing\n---\n- b\n...\n", [{"a": 1}, ["b"]]),
        ("text", ["text"]),
        ('{"a": [1, {"b": null}], "c": true}', [{"a": [1, {"b": None}], "c": True}]),
        ("\ufeffa: 1", [{"a": 1}]),
        ("a: {}\nb: []\nc:\nd: ~\ne: ''", [{"a": {}, "b": [], "c": None, "d": None, "e": ""}]),
        ("1: a\nnull: b\ntrue: c\n1.5: d", [{"1": "a", "null": "b", "true": "c", "1.5": "d"}]),
        # numbers are read where they are plain, else left as they are written
        ("[1, -1, 0, 1.5, .5, 1., +1.5e+3, 1.0e-2]", [[1, -1, 0, 1.5, 0.5, 1.0, 1500.0, 0.01]]),
        ("[1e3, 010, 0o7, 0x10, 1_000, 1:30]", [["1e3", "010", "0o7", "0x10", "1_000", "1:30"]]),
        ("[.inf, -.INF, .nan, 1.0e+1000]", [[".inf", "-.INF", ".nan", "1.0e+1000"]]),
        ("[yes, Off, TRUE, y]", [[True, False, True, "y"]]),
        ("[2026-01-01, 2026-01-01 10:00:00]", [["2026-01-01", "2026-01-01 10:00:00"]]),
        ("1" * 301, [int("1" * 301)]),
        ("1" * 302, ["1" * 302]),
        # tags construct nothing
        ("!!python/object/apply:os.system [ls]", [["ls"]]),
        ("[!own a, !!binary aGk=, !!str 1, !!int '7', !!float 2, !!int abc]", [["a", "aGk=", "1", 7, 2, "abc"]]),
        # aliases and merges
        ("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}", [{"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}]),
        ("a: &a {x: 1}\nb: {x: 3, <<: *a}", [{"a": {"x": 1}, "b": {"x": 3}}]),
        ("a: &a 1\n---\na: &a 2\nb: *a", [{"a": 1}, {"a": 2, "b": 2}]),
    ],
)  # fmt: skip
def test_documents_become_plain_data(text: str, expect: list[Any]) -> None:
    assert data(text) == expect


TEMPLATE = "an unrendered template of Helm; render it first (helm template), or write the value"
INDENTED = "does not fit the lines before it; check the indentation, and quote texts that hold ': ' or quotes"
TWO_COLONS = "a second ':' in one line, or a wrong indentation; quote the text, or begin a new line"
NOT_CLOSED = "a list or map without its closing ']'; add it, or a comma before this"
YAML_2 = "a version of YAML other than 1; remove the line that begins with %YAML"
DEEP = "\n".join(" " * depth + "a:" for depth in range(1000))


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("a: b: c", [f"f.yaml:1:5: not valid YAML: {TWO_COLONS}"]),
        ("a:\n  - 'b", ["f.yaml:2:7: not valid YAML: a quote that is not closed; add the closing quote"]),
        ("\ta: 1", ["f.yaml:1:1: not valid YAML: a tab; use spaces"]),
        ("a: [1, 2", [f"f.yaml:1:9: not valid YAML: {NOT_CLOSED}"]),
        ("a: 1\nb: *c", ["f.yaml:2:4: not valid YAML: undefined alias 'c'; write the anchor (&) before the alias (*)"]),
        ("a: 1\n...\nb", ["f.yaml:3:1: not valid YAML: a new document without '---' before it; write '---'"]),
        ("<<: 5", ["f.yaml:1:5: not valid YAML: a value of '<<' that is not a map; write an alias of a map"]),
        ("%YAML 2.0\n---\na", [f"f.yaml:1:1: not valid YAML: {YAML_2}"]),
        ("a:\n\tb: 1", ["f.yaml:2:1: not valid YAML: a tab; use spaces"]),
        ("a: @x", ["f.yaml:1:4: not valid YAML: a text cannot begin with '@'; quote it"]),
        ("a:\n  b: 1\n c: 2", [f"f.yaml:3:2: not valid YAML: {INDENTED}"]),
        ("a: 1\n- b", [f"f.yaml:2:1: not valid YAML: {INDENTED}"]),
        ("a: |\n b\nc", ["f.yaml:3:2: not valid YAML: a line without ':'; write `key: value`"]),
        ("a: &b 1\nc: &b 2", ["f.yaml:2:4: not valid YAML: a second anchor 'b'; give it another name"]),
        (
            'a: "\\q"',
            ["f.yaml:1:6: not valid YAML: \\ before 'q' in double quotes; write \\\\, or use single quotes"],
        ),
        ("a: ]", ["f.yaml:1:4: not valid YAML: cannot be read from here; check the indentation, quotes and brackets"]),
        # templates of Helm
        ("a: {{ .Values.x }}", [f"f.yaml:1:4: a: {TEMPLATE}"]),
        ("{{ .Values.x }}: 1", [f"f.yaml:1:1: {TEMPLATE}"]),
        ("{{- if .x }}\na: 1\n{{- end }}", [f"f.yaml:1:1: {TEMPLATE}"]),
        ("a: {{ .x }}-{{ .y }}", [f"f.yaml:1:4: {TEMPLATE}"]),
        ("a: \x00", ["f.yaml:1:4: not valid YAML: a control character, or half of a surrogate pair; remove it"]),
        ("a: \ud800", ["f.yaml:1:4: not valid YAML: a control character, or half of a surrogate pair; remove it"]),
        (
            'a: "x\\ud800"\n"\\udfff": 1',
            [
                "f.yaml:1:4: a: half of a surrogate pair, which is not a character; write the whole",
                "f.yaml:2:1: a key with half of a surrogate pair, which is not a character",
            ],
        ),
        ("a: &a [*a]", ["f.yaml:1:1: nested too deeply, or an alias within itself"]),
        ("[" * 1000, ["f.yaml:1:1: nested too deeply, or an alias within itself"]),
        (DEEP, ["f.yaml:1:1: nested too deeply, or an alias within itself"]),
        # all duplicates of a document at once
        (
            "a: {b: 1, b: 2}\nc:\n  d.e: 1\n  'd.e': 2\n  d.e: 3\n",
            [
            "f.yaml:1:11: a.b: duplicate key, first given in line 1; keep one of them",
            "f.yaml:4:3: c[d.e]: duplicate key, first given in line 3; keep one of them",
            "f.yaml:5:3: c[d.e]: duplicate key, first given in line 3; keep one of them",
            ],
        ),
        ("1: a\n'1': b", ["f.yaml:2:1: 1: duplicate key, first given in line 1; keep one of them"]),
        (
            "? [a, b]\n: 1\n? {c: d}\n: 2\ne:\n  ? []\n  : 3",
            [
            "f.yaml:1:3: a key that is a list or a map; write a plain text",
            "f.yaml:3:3: a key that is a list or a map; write a plain text",
            "f.yaml:6:5: e: a key that is a list or a map; write a plain text",
            ],
        ),
    ],
    ids=[
        *("colon", "quote", "tab", "bracket", "alias", "document", "merge", "version"),
        *("indented by a tab", "at", "less indented", "a list in a map", "no colon", "anchor", "escape", "another"),
        *("template", "template as a key", "template of a block", "templates in a text", "control", "surrogate"),
        *("escaped surrogates", "alias in itself", "deep flow", "deep block", "duplicates", "equal texts", "keys"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, expect: list[str]) -> None:
    assert problems(text) == expect


@pytest.mark.parametrize("text", ["!!bool maybe", "!!bool ''", "!!int ''", "!!int '-'", "!!float .", "!!float e5"])
def test_a_tag_that_its_text_does_not_bear_is_no_crash(text: str) -> None:
    with suppress(ProblemsError):
        data(text)


def test_an_alias_bomb_is_refused() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
    )
    assert problems(bomb) == ["f.yaml:1:24: more than 200000 values"]
    padded = f"{bomb}#{'x' * 1_700_000}\n"
    assert problems(padded) == [f"f.yaml:1:8: more than {len(padded) // 8} values"]


def test_a_long_text_may_have_more_values_than_an_alias_bomb() -> None:
    (document,) = load_all(f"[{'somebody, ' * 200_000}]", "f.yaml")
    assert len(document.values) == 200_001


def test_a_bomb_of_merges_comes_to_nothing() -> None:
    bomb = "a: &a {x: 1}\n" + "".join(
        f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 10)}]}}\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert data(bomb) == [{name: {"x": 1} for name in "abcdefghi"}]


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("a: 010", ["f.yaml:1:4: a: 010 is not a plain number; write it in quotes, or in decimal"]),
        ("a: 00", ["f.yaml:1:4: a: 00 is not a plain number; write it in quotes, or in decimal"]),
        ("a: 0x1F", ["f.yaml:1:4: a: 0x1F is not a plain number; write it in quotes, or in decimal"]),
        ("a: 1_000", ["f.yaml:1:4: a: 1_000 is not a plain number; write it in quotes, or in decimal"]),
        ("a: 1:30", ["f.yaml:1:4: a: 1:30 is not a plain number; write it in quotes, or in decimal"]),
        ("a: -.inf", ["f.yaml:1:4: a: -.inf is not a plain number; write it in quotes, or in decimal"]),
        ("yes", ["f.yaml:1:1: yes is a boolean in YAML; quote it, or write true or false"]),
        (
            "a: [on, {b: No}]\nc: 0b11",
            [
            "f.yaml:1:5: a[0]: on is a boolean in YAML; quote it, or write true or false",
            "f.yaml:1:13: a[1].b: No is a boolean in YAML; quote it, or write true or false",
            "f.yaml:2:4: c: 0b11 is not a plain number; write it in quotes, or in decimal",
            ],
        ),
        (
            "a: off\na: 010",
            [
            "f.yaml:1:4: a: off is a boolean in YAML; quote it, or write true or false",
            "f.yaml:2:1: a: duplicate key, first given in line 1; keep one of them",
            "f.yaml:2:4: a: 010 is not a plain number; write it in quotes, or in decimal",
            ],
        ),
    ],
)  # fmt: skip
def test_what_yaml_reads_in_surprising_ways_is_refused_where_that_matters(text: str, expect: list[str]) -> None:
    assert problems(text, strict=True) == expect


def test_what_is_plain_is_read_there_as_well() -> None:
    text = "a: [1, 1.5, 'yes', '010', 1e3, true, FALSE, ~, y, 2026-01-01]\nyes: 010x"
    assert data(text, strict=True) == [
        {"a": [1, 1.5, "yes", "010", "1e3", True, False, None, "y", "2026-01-01"], "yes": "010x"}
    ]


TEXT = """\
plugins:
  k8s:
    nvidia.com/gpu: [{key: a}]
"""
GPU = ("plugins", "k8s", "nvidia.com/gpu")


@pytest.mark.parametrize(
    ("path", "at_key", "expect"),
    [
        ((), False, "f.yaml:1:1: wrong"),
        (("plugins",), False, "f.yaml:2:3: plugins: wrong"),
        (("plugins",), True, "f.yaml:1:1: plugins: wrong"),
        (GPU, True, "f.yaml:3:5: plugins.k8s[nvidia.com/gpu]: wrong"),
        ((*GPU, 0), False, "f.yaml:3:22: plugins.k8s[nvidia.com/gpu][0]: wrong"),
        ((*GPU, 0, "key"), False, "f.yaml:3:28: plugins.k8s[nvidia.com/gpu][0].key: wrong"),
        # a missing value is reported at its nearest parent
        ((*GPU, 0, "value"), True, "f.yaml:3:22: plugins.k8s[nvidia.com/gpu][0].value: wrong"),
        (("other", "a b"), False, "f.yaml:1:1: other[a b]: wrong"),
    ],
)
def test_a_document_knows_where_its_keys_and_values_stand(
    path: tuple[str | int, ...],
    at_key: bool,  # noqa: FBT001
    expect: str,
) -> None:
    (document,) = load_all(TEXT, "f.yaml")
    assert document.problem(path, "wrong", at_key=at_key).at("f.yaml") == expect


def test_problems_are_told_in_the_order_of_their_places() -> None:
    error = ProblemsError("f", [Problem(2, 1, "c"), Problem(1, 9, "b"), Problem(1, 2, "a")])
    assert str(error) == "f:1:2: a\nf:1:9: b\nf:2:1: c"
    assert error.problems == [Problem(1, 2, "a"), Problem(1, 9, "b"), Problem(2, 1, "c")]


PIECES = st.sampled_from([
    "a", "b: ", "c:\n", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", ": ", "'x'", '"y\\n"', "|\n  t\n",
    ">-\n  u\n", "&x ", "*x", "!!str ", "!t ", "? ", "# c\n", "---\n", "...\n", "1", "0x1F", "yes", "~", "é", "😀",
    "\t", " ", "<<: ", "%YAML 1.1\n", '"', "'", "@", "\r\n", "\u2028", "\x85", "\ufeff", "\ud800", "\0",
])  # fmt: skip


def everything(text: str) -> object:
    """All that is read, and where it stands, or what is wrong with the text."""
    try:
        return [
            (document.data, document.problems, *(
                {path: (mark.line, mark.column) for path, mark in marks.items()}
                for marks in (document.keys, document.values)
            ))
            for document in read_all(text, "f.yaml", strict=True)
        ]  # fmt: skip
    except ProblemsError as error:
        return error.problems


@settings(max_examples=1000)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_the_loader_of_libyaml_reads_the_same_from_the_same_places(text: str) -> None:
    assert yaml_text.FAST_LOADER is not yaml.SafeLoader
    fast = everything(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_text, "FAST_LOADER", yaml.SafeLoader)
        assert everything(text) == fast


@pytest.mark.parametrize(
    "file", ["policy.yaml", "overrides.yaml", "pods.yaml", "jobs.yaml", "quotas.yaml", "typo.yaml"]
)
def test_it_does_so_with_the_examples(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLES / file).read_text()
    fast = everything(text)
    monkeypatch.setattr(yaml_text, "FAST_LOADER", yaml.SafeLoader)
    assert everything(text) == fast


@given(st.text("ab01.:-[]{}&*!?<>|'\"#, \n\t~%@", max_size=30))
def test_any_text_is_data_or_problems(text: str) -> None:
    for strict in (False, True):
        try:
            loaded(text, strict=strict)
        except ProblemsError as error:
            assert all(line.startswith("f.yaml:") for line in str(error).splitlines())  # noqa: PT017 - either is fine
