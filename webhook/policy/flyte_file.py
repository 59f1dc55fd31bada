"""Takes the blocks of a policy out of what is round them in Flyte's files, before the text is decoded.

Flyte's configuration stands alone (flyteadmin, propeller), or somewhere in the values of a chart: below
`configuration.inline` in flyte-binary, in parts below `configmap` in flyte-core, below `valuesObject` of Argo CD. Viper
reads its keys in upper and lower case alike.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import yaml

from webhook.policy.schema import ALL_KEYS, FLYTE_SECTIONS, Override, PolicyFile, fields
from webhook.policy.spelling import NEARLY_THE_SAME, closest, has_odd_blank
from webhook.policy.yaml_text import Path, Problem, ProblemsError, dotted

BLOCKS: Final = ("task_resources", "task_resource_defaults", "namespace_mapping", "domains", "plugins")
_BLOCK_IN_TEXT: Final = re.compile(rf"(?im)^ *({'|'.join(BLOCKS[:-1])}):|^ *plugins:[\s{{]*k8s:")
BY_LOWER_CASE: Final = {key.lower(): key for key in ALL_KEYS}
POLICY_KEYS: Final = frozenset({*fields(PolicyFile), "<<"})
# Settings of Flyte 2, and their names here.
SETTINGS_PREFIX: Final = "task_resource"
SECTION_OF: Final[Mapping[str, str]] = {"min": "defaults", "max": "limits"}
RESOURCE_OF: Final[Mapping[str, str]] = {"cpu": "cpu", "gpu": "gpu", "memory": "memory", "storage": "ephemeralStorage"}
MIRROR: Final = f"{SETTINGS_PREFIX}.mirror_limits_request"
KNOWN: Final = {
    f"{SETTINGS_PREFIX}.{side}.{name}": (SECTION_OF[side], RESOURCE_OF[name])
    for side in SECTION_OF
    for name in RESOURCE_OF
}
UNSET: Final = "~unset"  # a scope has no value then, and inherits none
_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_MAP: Final = "tag:yaml.org,2002:map"

Pair: TypeAlias = tuple[yaml.Node, yaml.Node]


class FlyteFile:
    """A policy file that may be one of Flyte's; `left` has the keys that are left to Flyte, `problems` unknown ones."""

    def __init__(self, file: str) -> None:
        """Keep the name of the file for messages."""
        self._file = file
        self.left: list[Problem] = []
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def policy(self, nodes: Sequence[yaml.Node]) -> list[yaml.Node]:
        """Return the documents of a policy with its keys alone, as they are spelled here: a policy, then overrides."""
        self._refuse_objects(nodes)
        for node in nodes[:1]:
            _spell(node, set())
            if isinstance(node, yaml.MappingNode):
                node.value = _joined(self._taken(node), "plugins", "k8s")
                listed = next((value for name, value in _named(node) if name == "overrides"), None)
                self.overrides(listed.value if isinstance(listed, yaml.SequenceNode) else ())
        return [*nodes[:1], *self.overrides(nodes[1:])]

    def overrides(self, nodes: Iterable[yaml.Node]) -> list[yaml.Node]:
        """Return the overrides, with settings of Flyte 2 as ours: `task_resource.max.cpu`, flat or nested."""
        nodes = list(nodes)
        for node in nodes:
            _spell(node, set())
            settings = [pair for pair in _pairs(node) if _name(pair[0]).partition(".")[0] == SETTINGS_PREFIX]
            if settings:
                others = [pair for pair in _pairs(node) if pair not in settings]
                left = [key for key, _ in others if _name(key) and _name(key) not in fields(Override)]
                self.left += [_problem(key, f"{_name(key)}: left to Flyte") for key in left]
                node.value = [*(pair for pair in others if pair[0] not in left), *self._translated(settings)]
        return nodes

    def _taken(self, root: yaml.MappingNode) -> Iterator[Pair]:
        """Yield the keys that are ours, or nearly, and the blocks below the keys of Flyte's."""
        seen: set[int] = set()
        below = [[] if _name(key) in POLICY_KEYS else [*_blocks(value, seen)] for key, value in root.value]
        alike = NEARLY_THE_SAME if any(below) else 0.0  # the values of a chart have many keys that are Flyte's
        strange: list[yaml.Node] = []
        for (key, value), found in zip(root.value, below, strict=True):
            name = _name(key)
            # What is not a name is reported when it is decoded.
            if name in POLICY_KEYS or not name or "{{" in name or has_odd_blank(name):
                yield key, value
            elif found or name.lower() in FLYTE_SECTIONS or (alike and not closest(name, POLICY_KEYS, alike)):
                self.left.append(_problem(key, f"{name}: left to Flyte"))
                yield from found
            elif _is_setting(name, value) or not closest(name, POLICY_KEYS):
                strange.append(key)
            else:
                yield key, value
        if strange:
            names = ", ".join(dotted((_name(key),)) for key in strange)
            settings = _SETTINGS_BELOW if any(_is_setting(name, value) for name, value in _named(root)) else ""
            what = f"unknown key{'s'[: len(strange) > 1]}; {settings or _to_paste([root]) or _ACCEPTED}"
            self.problems.append(_problem(strange[0], f"{names}: {what}"))

    def _refuse_objects(self, nodes: Sequence[yaml.Node]) -> None:
        """Refuse objects of Kubernetes, but one that holds blocks: an Application of Argo CD, with its values."""
        kinds = {id(node): value.value for node in nodes for name, value in _named(node) if name == "kind"}
        if not kinds or (len(nodes) == 1 and any(_blocks(nodes[0], set()))):
            return
        (first, *others) = kinds.values()
        what = "objects of Kubernetes" if others else f"{'an' if str(first)[:1] in 'AEIOU' else 'a'} {first}"
        paste = _to_paste(nodes) or "paste the text that has task_resources or plugins"
        raise ProblemsError(self._file, [_problem(nodes[0], f"{what}, and not a policy; {paste}")])

    def _translated(self, settings: Iterable[Pair]) -> Iterator[Pair]:
        """Yield what settings of Flyte 2 are here: the minima are defaults, the maxima are limits."""
        found: dict[str, list[Pair]] = {}
        for path, key, value in _flat(settings):
            if path in KNOWN and isinstance(value, yaml.MappingNode):
                self.problems.append(_problem(value, f"{path}: a map where an amount is expected; write one such as 8"))
            elif path in KNOWN:
                side, name = KNOWN[path]
                named = yaml.ScalarNode(_TEXT, name, key.start_mark, key.end_mark)
                zero = yaml.ScalarNode(_TEXT, "0", value.start_mark, value.end_mark)
                found.setdefault(side, []).append((named, zero if value.value == UNSET else value))
            elif path == MIRROR:
                self._mirrored(value)
            elif not _name(key):
                yield key, value  # what is not a name is reported when it is decoded
            else:
                near = closest(
                    path.removeprefix(SETTINGS_PREFIX),
                    [each.removeprefix(SETTINGS_PREFIX) for each in (*KNOWN, MIRROR)],
                )
                meant = f"did you mean {SETTINGS_PREFIX}{near}? " if near else ""
                self.problems.append(_problem(key, f"{path}: unknown setting of Flyte 2; {meant}{_ACCEPTED_SETTINGS}"))
        for side, pairs in found.items():
            marks = pairs[0][0].start_mark, pairs[0][0].end_mark
            yield yaml.ScalarNode(_TEXT, side, *marks), yaml.MappingNode(_MAP, pairs, *marks)

    def _mirrored(self, value: yaml.Node) -> None:
        """Warn of a missing limit that is to stay missing, which is not done here; the opposite is done in any case."""
        text = str(value.value).lower()
        if text not in ("true", "false", "", UNSET) and value.tag != _NULL:
            self.problems.append(_problem(value, f"{MIRROR}: write true or false"))
        elif text != "true":
            what = "not applied, as the task's own container gets its request as the limit in any case"
            self.warnings.append(_problem(value, f"{MIRROR}: warning: {what}; for cpu, write cpu_limits: remove"))


_SETTINGS_BELOW: Final = (
    "write settings of Flyte 2 below a line ---, with their org, domain or project, or run policy import"
)
_ACCEPTED: Final = f"accepted: {', '.join(fields(PolicyFile))}"
_ACCEPTED_SETTINGS: Final = (
    f"accepted: {SETTINGS_PREFIX}.min.NAME and {SETTINGS_PREFIX}.max.NAME, with {', '.join(RESOURCE_OF)} as the name, "
    f"and {MIRROR}"
)


def _pairs(node: yaml.Node) -> list[Pair]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _name(key: yaml.Node) -> str:
    """Return the text of a key; empty for a key that is a list or a map."""
    return str(key.value) if isinstance(key, yaml.ScalarNode) else ""


def _named(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    yield from ((_name(key), value) for key, value in _pairs(node))


def _spell(node: yaml.Node, seen: set[int]) -> None:
    """Write the keys below the node as they are spelled here."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    for item in node.value:
        key, value = item if isinstance(item, tuple) else (None, item)
        if isinstance(key, yaml.ScalarNode):
            key.value = BY_LOWER_CASE.get(str(key.value).lower(), key.value)
        _spell(value, seen)


def _blocks(node: yaml.Node, seen: set[int]) -> Iterator[Pair]:
    """Yield the blocks in a map or list, with the keys of ours beside them, and those in what is below it."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    has_block = any(_is_block(name, value) for name, value in _named(node))
    for item in node.value:
        key, value = item if isinstance(item, tuple) else (None, item)
        if key and (_is_block(_name(key), value) or (has_block and _name(key) in POLICY_KEYS - {*BLOCKS, "<<"})):
            yield key, value
        else:
            yield from _blocks(value, seen)


def _is_block(name: str, value: yaml.Node) -> bool:
    """Return whether the value is a block of Flyte's: Grafana has `plugins`, and an Ingress may have `domains`."""
    if name == "plugins":
        return isinstance(value, yaml.MappingNode)
    listed = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return name in BLOCKS and (name != "domains" or all("id" in dict(_named(item)) for item in listed))


def _to_paste(nodes: Iterable[yaml.Node]) -> str:
    """Return which texts to paste, of those in the documents that hold blocks; empty if there are none."""
    found = [
        f"{dotted(path)} (line {at.start_mark.line + 1})" for node in nodes for path, at in _texts(node, (), set())
    ]
    return f"paste the text that is below {', '.join(found)}" if found else ""


def _texts(node: yaml.Node, path: Path, seen: set[int]) -> Iterator[tuple[Path, yaml.Node]]:
    """Yield the texts in a map or list that hold blocks, with their paths."""
    if isinstance(node, yaml.ScalarNode):
        if _BLOCK_IN_TEXT.search(node.value):
            yield path, node
    elif id(node) not in seen:
        seen.add(id(node))
        for index, item in enumerate(node.value):
            key, value = item if isinstance(item, tuple) else (index, item)
            yield from _texts(value, (*path, key if isinstance(key, int) else _name(key)), seen)


def _is_setting(name: str, value: yaml.Node) -> bool:
    """Return whether the key is of settings of Flyte 2, flat or nested, and no misspelling of `task_resources`."""
    section, dot, _ = name.partition(".")
    return section == SETTINGS_PREFIX and bool(dot or not {"min", "max"}.isdisjoint(dict(_named(value))))


def _joined(pairs: Iterable[Pair], name: str, *below: str) -> list[Pair]:
    """Return the pairs with all maps of that name as one, and likewise below it."""
    joined: list[Pair] = []
    first: yaml.MappingNode | None = None
    for key, value in pairs:
        if key.value != name or not isinstance(value, yaml.MappingNode):
            joined.append((key, value))
        elif first is None:
            first = value
            joined.append((key, value))
        elif value is not first:
            first.value = [*first.value, *value.value]
    if first and below:
        first.value = _joined(first.value, *below)
    return joined


def _flat(pairs: Iterable[Pair], prefix: str = "") -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield the values of nested maps with their dotted path; a setting has three steps."""
    for key, value in pairs:
        path = f"{prefix}{_name(key)}"
        if isinstance(value, yaml.MappingNode) and path not in (*KNOWN, MIRROR):
            yield from _flat(value.value, f"{path}.")
        else:
            yield path, key, value


def _problem(node: yaml.Node, what: str) -> Problem:
    return Problem(node.start_mark.line + 1, node.start_mark.column + 1, what)
