"""The chart's files, by what they say: its values, their schema, and what it has a copy of."""

import itertools
import json
import tomllib
from collections.abc import Iterator

import yaml

from tests.manifests import BASE, CHART, COMPONENTS, ROOT, Json, chart_readme, documents, policy_schema

SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
MONITORING = COMPONENTS / "monitoring"


def leaves(schema: Json, path: str = "") -> Iterator[str]:
    """Every value that the schema names; what is in an object that it leaves open is not one."""
    below = schema.get("properties", {})
    if path and (not below or path == "certificates.certManager.issuerRef"):
        yield path
    else:
        for name, value in below.items():
            yield from leaves(value, f"{path}.{name}" if path else name)


def lines(node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, int]]:
    """Every value that values.yaml gives, and the line that its key is in, from 0."""
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else str(key.value)
        yield here, key.start_mark.line
        if isinstance(value, yaml.MappingNode):
            yield from lines(value, here)


def test_every_value_is_given_described_and_in_the_schema() -> None:
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    above = dict(lines(root))
    values = set(leaves(SCHEMA)) - {"global"}  # which is Helm's own
    for value in values:
        comments = itertools.takewhile(
            lambda line: line.lstrip().startswith("#"), text.splitlines()[: above[value]][::-1]
        )
        assert any(line.lstrip().startswith("# -- ") for line in comments), value
    known = {".".join(value.split(".")[:depth]) for value in values for depth in range(1, 9)}
    assert {path for path in above if not any(path.startswith(f"{value}.") for value in values)} == known


def test_the_schema_knows_no_values_beside_its_own() -> None:
    def closed(schema: Json) -> bool:
        properties = schema.get("properties")
        below = all(map(closed, (properties or {}).values()))
        return below and (not properties or schema.get("additionalProperties") is False)

    assert closed(SCHEMA)


def test_the_schema_misses_every_value_that_was_set_to_null() -> None:
    """Helm takes such a value away, and the templates count on each."""
    required = {f"{path}{name}" for path, schema in sections(SCHEMA) for name in schema["required"]}
    assert required == {f"{path}{name}" for path, schema in sections(SCHEMA) for name in schema["properties"]} - {
        "global"
    }


def sections(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """The objects whose values values.yaml gives one by one."""
    if "properties" in schema and path != "certificates.certManager.issuerRef.":
        yield path, schema
        for name, value in schema["properties"].items():
            yield from sections(value, f"{path}{name}.")


def test_the_policy_is_held_against_its_own_schema() -> None:
    assert SCHEMA["properties"]["config"] == {"$ref": "#/$defs/policy"}
    assert SCHEMA["$defs"]["policy"] == policy_schema.policy(), "the policy has changed; run make schema"


def test_the_versions_are_that_of_the_program() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart, base = documents(CHART / "Chart.yaml")[0], documents(BASE / "kustomization.yaml")[0]
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert [image["newTag"] for image in base["images"]] == [version]


def test_the_chart_has_the_same_dashboard_and_alerts() -> None:
    assert (CHART / "files" / "dashboard.json").read_text() == (MONITORING / "dashboard.json").read_text()
    (rule,) = documents(MONITORING / "prometheus-rule.yaml")
    assert documents(CHART / "files" / "alerts.yaml") == [rule["spec"]]


def test_the_readme_of_the_chart_lists_its_values() -> None:
    assert (CHART / "README.md").read_text() == chart_readme.text(), "the values have changed; run make schema"
