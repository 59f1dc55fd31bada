"""Reads YAML as plain data with the line and column of each key and value, for error messages."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from webhook.policy.yaml_errors import UNQUOTED_TEMPLATE, UNRENDERED, plainly

Path: TypeAlias = tuple[str | int, ...]

# The most values in a document with aliases expanded: a document with more is an alias bomb. A long text may have more:
# what kubectl prints has a value for 25 characters.
MAX_VALUES: Final = 200_000
FEWEST_CHARACTERS: Final = 8  # for each value of a long text
# libyaml is five times as fast as the loader in Python. The two differ only on text with one of these: tabs, special
# line breaks and marks of YAML 1.1, explicit keys, an empty value in a flow collection or at the end.
FAST_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_READ_DIFFERENTLY: Final = re.compile(r"[\t\r\x85\u2028\u2029\ufeff]|\?(?:\s|\Z)|:\s*[\],}]|\n +\Z")
_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset({"null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value"})
_CONSTRUCTOR: Final = yaml.constructor.SafeConstructor()  # knows `<<` and booleans
_PLAIN_NUMBER: Final = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][-+]?[0-9]{1,3})?"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # half of a character, which JSON cannot carry


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error in a text, with its place; lines and columns count from 1."""

    line: int
    column: int
    text: str

    def at(self, file: str) -> str:
        """Return the problem in the form of compiler messages."""
        return f"{file}:{self.line}:{self.column}: {self.text}"


class ProblemsError(ValueError):
    """All errors in a text, in order, one line each: `file:line:col: where: what`."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.at(file) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its data, and the places of its keys and values."""

    data: Any
    file: str
    keys: dict[Path, yaml.Mark] = field(default_factory=dict)
    values: dict[Path, yaml.Mark] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()  # values that do not mean what they seem to

    def at(self, path: Path) -> Any:
        """Return the data at the path, which must exist."""
        data = self.data
        for step in path:
            data = data[step]
        return data

    def get(self, path: Path) -> Any:
        """Return the data at the path; None if there is nothing."""
        with suppress(LookupError, TypeError):
            return self.at(path)
        return None

    def problem(self, path: Path, what: str, *, at_key: bool = False) -> Problem:
        """Return `what` as a problem at the value, or at its key, or at the nearest parent in the text."""
        marks = self.keys if at_key and path in self.keys else self.values
        place = path
        while place and place not in marks:
            place = place[:-1]
        where = dotted(path)
        return _problem(marks.get(place), f"{where}: {what}" if where else what)


def load_all(text: str, file: str) -> list[Document]:
    """Return the nonempty documents of the text; raise ProblemsError with all problems of the first invalid one."""
    documents = read_all(text, file)
    for document in documents:
        if document.problems:
            raise ProblemsError(file, list(document.problems))
    return documents


def read_all(
    text: str, file: str, *, strict: bool = False, prepare: Callable[[list[yaml.Node]], list[yaml.Node]] = list
) -> list[Document]:
    """Return the nonempty documents of the text, each with its problems, for example duplicate keys.

    `strict` also reports plain scalars that YAML 1.1 reads in surprising ways (010, 1:30, yes). `prepare` gets the
    documents as nodes. Raise ProblemsError for the first syntax error.
    """
    try:
        most = max(MAX_VALUES, len(text) // FEWEST_CHARACTERS)
        documents = [_Decoder(file, strict=strict, most=most).document(node) for node in prepare(_nodes(text))]
    except yaml.MarkedYAMLError as error:
        if template := UNQUOTED_TEMPLATE.search(text):
            raise ProblemsError(file, [_problem_at(text, template.start(1), UNRENDERED)]) from error
        what = f"not valid YAML: {plainly(error)}"
        raise ProblemsError(file, [_problem(error.problem_mark or error.context_mark, what)]) from error
    except yaml.reader.ReaderError as error:
        what = "not valid YAML: a control character, or half of a surrogate pair; remove it"
        raise ProblemsError(file, [_problem_at(text, error.position, what)]) from error
    except RecursionError:
        raise ProblemsError(file, [Problem(1, 1, "nested too deeply, or an alias within itself")]) from None
    return [document for document in documents if document.data is not None or document.problems]


def _nodes(text: str) -> list[yaml.Node]:
    """Return the documents of the text as nodes; errors always come from the loader in Python."""
    if not _READ_DIFFERENTLY.search(text):
        with suppress(yaml.YAMLError, UnicodeEncodeError):
            return list(yaml.compose_all(text, Loader=FAST_LOADER))
    return list(yaml.compose_all(text, Loader=yaml.SafeLoader))


def dotted(path: Path) -> str:
    """Return the path as people write it: `plugins.k8s.resource-tolerations[nvidia.com/gpu][0].key`."""
    text = ""
    for step in path:
        if isinstance(step, int) or re.search(r"[^\w-]", step):
            text += f"[{str(step).encode('unicode_escape').decode()}]"
        else:
            text += f".{step}" if text else step
    return text


def _is_template(node: yaml.Node) -> bool:
    """Return whether the node is an unquoted `{{ .Values.x }}`, which YAML reads as a map with a map as its key."""
    if not (isinstance(node, yaml.MappingNode) and node.flow_style and len(node.value) == 1):
        return False
    key = node.value[0][0]
    return isinstance(key, yaml.MappingNode) and key.start_mark.index == node.start_mark.index + 1


def _problem(mark: yaml.Mark | None, what: str) -> Problem:
    return Problem(mark.line + 1, mark.column + 1, what) if mark else Problem(1, 1, what)


def _problem_at(text: str, position: int, what: str) -> Problem:
    lines = text[:position].split("\n")
    return Problem(len(lines), len(lines[-1]) + 1, what)


class _Decoder:
    """A decoder of nodes that collects their places and problems."""

    def __init__(self, file: str, *, strict: bool, most: int) -> None:
        self._file = file
        self._strict = strict
        self._most = most  # values
        self._keys: dict[Path, yaml.Mark] = {}
        self._values: dict[Path, yaml.Mark] = {}
        self._problems: list[Problem] = []

    def document(self, node: yaml.Node) -> Document:
        data = self._value(node, ())
        return Document(data, self._file, self._keys, self._values, tuple(self._problems))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._values[path] = node.start_mark
        if len(self._values) > self._most:
            raise ProblemsError(self._file, [_problem(node.start_mark, f"more than {self._most} values")])
        if self._strict and node.tag.removeprefix(_TAG) not in _TAGS:
            self._add_problem(node.start_mark, path, f"a tag, {node.tag.replace(_TAG, '!!')}; remove it")
        if _is_template(node):
            self._add_problem(node.start_mark, path, UNRENDERED)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node.tag.removeprefix(_TAG), node.value, node.start_mark, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._refuse_duplicates(node, path)
        _CONSTRUCTOR.flatten_mapping(node)  # resolves `<<`
        data = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # a problem already
            key = str(key_node.value)
            if _SURROGATE.search(key):
                self._add_problem(
                    key_node.start_mark, path, "a key with half of a surrogate pair, which is not a character"
                )
            self._keys[*path, key] = key_node.start_mark
            data[key] = self._value(value_node, (*path, key))
        return data

    def _refuse_duplicates(self, node: yaml.MappingNode, path: Path) -> None:
        first: dict[str, yaml.Mark] = {}
        for key_node, _ in node.value:
            key, mark = str(key_node.value), key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                what = UNRENDERED if _is_template(key_node) else "a key that is a list or a map; write a plain text"
                self._add_problem(mark, path, what)
            elif key in first:
                what = f"duplicate key, first given in line {first[key].line + 1}; keep one of them"
                self._add_problem(mark, (*path, key), what)
            first.setdefault(key, mark)

    def _scalar(self, tag: str, text: str, mark: yaml.Mark, path: Path) -> Any:
        if _SURROGATE.search(text):
            self._add_problem(mark, path, "half of a surrogate pair, which is not a character; write the whole")
        match tag:
            case "null":
                return None
            case "bool" if text.lower() in _CONSTRUCTOR.bool_values:
                if self._strict and text.lower() not in ("true", "false"):
                    self._add_problem(mark, path, f"{text} is a boolean in YAML; quote it, or write true or false")
                return _CONSTRUCTOR.bool_values[text.lower()]
            case "int" | "float" if _PLAIN_NUMBER.fullmatch(text):
                return float(text) if re.search("[.eE]", text) else int(text)
            case "int" | "float" if self._strict:
                self._add_problem(mark, path, f"{text} is not a plain number; write it in quotes, or in decimal")
        return text

    def _add_problem(self, mark: yaml.Mark, path: Path, what: str) -> None:
        where = dotted(path)
        self._problems.append(_problem(mark, f"{where}: {what}" if where else what))
