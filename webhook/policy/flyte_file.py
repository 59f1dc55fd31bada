"""Takes the blocks of a policy out of what is round them in Flyte's files, before the text is decoded.

Flyte's configuration stands alone (flyteadmin, propeller), below `configuration.inline` (the chart flyte-binary), or in
parts below `configmap` (the chart flyte-core). Viper reads its keys in upper and lower case alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import yaml

from webhook.policy.schema import ALL_KEYS, FLYTE_SECTIONS, Override, PolicyFile, fields
from webhook.policy.spelling import closest
from webhook.policy.yaml_text import Problem, ProblemsError, dotted

BLOCKS: Final = frozenset({"task_resources", "task_resource_defaults", "namespace_mapping", "domains", "plugins"})
DEEPEST: Final = 4  # levels between the top of a file and a block
SPELLED: Final = {key.lower(): key for key in ALL_KEYS}
SETTINGS: Final[Mapping[str, str]] = {"min": "defaults", "max": "limits"}  # of Flyte 2, and their names here
SPELLED_2: Final = {"storage": "ephemeralStorage"}
OURS: Final = frozenset({*fields(PolicyFile), "<<"})
UNSET: Final = "~unset"  # a scope has no value then, and inherits none
_TEXT: Final = "tag:yaml.org,2002:str"
_MAP: Final = "tag:yaml.org,2002:map"

Pair: TypeAlias = tuple[yaml.Node, yaml.Node]


class FlyteFile:
    """A policy file that may be one of Flyte's; `left` has the keys that are left to Flyte, `problems` unknown ones."""

    def __init__(self, file: str) -> None:
        """Keep the name of the file for messages."""
        self._file = file
        self.left: list[Problem] = []
        self.problems: list[Problem] = []

    def policy(self, node: yaml.Node) -> yaml.Node:
        """Return the document with the keys of a policy alone, as they are spelled here."""
        if isinstance(node, yaml.MappingNode):
            self._refuse_config_map(node)
            _spell(node, set())
            node.value = _joined(self._taken(node), "plugins", "k8s")
            for override in _value(node, "overrides") or ():
                self.override(override)
        return node

    def override(self, node: yaml.Node) -> yaml.Node:
        """Return the override, with settings of Flyte 2 as ours: `task_resource.max.cpu`, flat or nested."""
        if not isinstance(node, yaml.MappingNode):
            return node
        _spell(node, set())
        settings = [pair for pair in node.value if _is_setting(pair)]
        if settings:
            others = [pair for pair in node.value if pair not in settings and str(pair[0].value) in fields(Override)]
            left = [key for key, value in node.value if (key, value) not in (*others, *settings)]
            self.left += [_problem(key, f"{key.value}: left to Flyte") for key in left]
            node.value = [*others, *_translated(settings)]
        return node

    def _taken(self, root: yaml.MappingNode) -> Iterator[Pair]:
        """Yield the keys that are ours, or nearly, and the blocks below the keys of Flyte's."""
        others = [(key, value) for key, value in root.value if str(key.value) not in OURS]
        below = {id(key): list(_blocks(value, DEEPEST)) for key, value in others}
        of_flyte = [key for key, _ in others if str(key.value).lower() in FLYTE_SECTIONS or below[id(key)]]
        strange = [key for key, _ in others if key not in of_flyte and not closest(str(key.value), OURS)]
        if any(below.values()):  # the values of a chart, which has more that is Flyte's
            of_flyte, strange = [*of_flyte, *strange], []
        self.left += [_problem(key, f"{key.value}: left to Flyte") for key in of_flyte]
        if strange:
            names = ", ".join(dotted((str(key.value),)) for key in strange)
            what = f"unknown key{'s'[: len(strange) > 1]}; accepted: {', '.join(fields(PolicyFile))}"
            self.problems.append(_problem(strange[0], f"{names}: {what}"))
        for key, value in root.value:
            if key not in (*of_flyte, *strange):
                yield key, value
            yield from below.get(id(key), ())

    def _refuse_config_map(self, root: yaml.MappingNode) -> None:
        if _value(root, "kind") != "ConfigMap":
            return
        texts = {str(key.value): str(value.value) for key, value in _value(root, "data") or ()}
        holding = [f"data[{name}]" for name, text in texts.items() if any(f"{block}:" in text for block in BLOCKS)]
        below = " and ".join(holding) or "the key of data that has task_resources or plugins"
        raise ProblemsError(self._file, [_problem(root, f"a ConfigMap; paste the text that is below {below}")])


def _spell(node: yaml.Node, seen: set[int]) -> None:
    """Write the keys below the node as they are spelled here."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    for item in node.value:
        key, value = item if isinstance(item, tuple) else (None, item)
        if isinstance(key, yaml.ScalarNode):
            key.value = SPELLED.get(str(key.value).lower(), key.value)
        _spell(value, seen)


def _blocks(node: yaml.Node, deep: int) -> Iterator[Pair]:
    """Yield the blocks in a map, and in the maps below it."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) and deep else ():
        if key.value in BLOCKS:
            yield key, value
        else:
            yield from _blocks(value, deep - 1)


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


def _is_setting(pair: Pair) -> bool:
    return str(pair[0].value).partition(".")[0] == "task_resource"


def _translated(settings: Iterable[Pair]) -> Iterator[Pair]:
    """Yield what settings of Flyte 2 are here: the minima are defaults, and limits mirror requests in any case."""
    found: dict[str, list[Pair]] = {}
    for path, key, value in _flat(settings):
        side, _, name = path.removeprefix("task_resource.").partition(".")
        if side == "mirror_limits_request":
            continue
        named = yaml.ScalarNode(_TEXT, SPELLED_2.get(name, name), key.start_mark, key.end_mark)
        zero = yaml.ScalarNode(_TEXT, "0", value.start_mark, value.end_mark)
        found.setdefault(SETTINGS.get(side, path), []).append((named, zero if value.value == UNSET else value))
    for side, pairs in found.items():
        marks = pairs[0][0].start_mark, pairs[0][0].end_mark
        yield yaml.ScalarNode(_TEXT, side, *marks), yaml.MappingNode(_MAP, pairs, *marks)


def _flat(pairs: Iterable[Pair], prefix: str = "") -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield the values of nested maps with their dotted path."""
    for key, value in pairs:
        path = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and path.count(".") < DEEPEST:
            yield from _flat(value.value, f"{path}.")
        else:
            yield path, key, value


def _value(node: yaml.MappingNode, name: str) -> Any:
    return next((value.value for key, value in node.value if key.value == name), None)


def _problem(node: yaml.Node, what: str) -> Problem:
    return Problem(node.start_mark.line + 1, node.start_mark.column + 1, what)
