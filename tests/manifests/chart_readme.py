"""Writes the README of the chart from its values, for `make schema`."""

import json
import re
from collections.abc import Iterator
from typing import Final

import yaml

from tests.manifests import CHART

README: Final = CHART / "README.md"
HEAD: Final = """# flyte-admission

A Kubernetes admission webhook that completes, caps and checks the Pods of Flyte tasks.

```sh
helm install flyte-admission oci://REGISTRY/charts/flyte-admission --namespace flyte-admission --create-namespace \\
  --values values.yaml
```

`image.repository` is required. *Installing flyte-admission* and *Platforms*, in the documentation, say what to choose.
This page is made from `values.yaml`.

## Values

| value | default | what it is |
|---|---|---|
"""


def rows(node: yaml.MappingNode, lines: list[str], path: str = "") -> Iterator[str]:
    """Yield a row for each value that has a description."""
    for key, value in node.value:
        name = f"{path}{key.value}"
        if description := _description(lines, key.start_mark.line):
            default = json.dumps(yaml.safe_load(yaml.serialize(value)), ensure_ascii=False)
            yield f"| `{name}` | `{default}` | {description} |"
        elif isinstance(value, yaml.MappingNode):
            yield from rows(value, lines, f"{name}.")


def _description(lines: list[str], number: int) -> str:
    """Return the comment above the line, from its `--` on; empty if it has none."""
    found: list[str] = []
    while (line := lines[number - 1].strip()).startswith("#"):
        found.insert(0, re.sub(r"^# ?(-- )?", "", line))
        if line.startswith("# --"):
            return " ".join(found).replace("|", "\\|")
        number -= 1
    return ""


def text() -> str:
    """Return the README as the values are now."""
    values = (CHART / "values.yaml").read_text()
    root = yaml.compose(values)
    assert isinstance(root, yaml.MappingNode)
    return HEAD + "\n".join(rows(root, values.splitlines())) + "\n"


if __name__ == "__main__":
    README.write_text(text())
