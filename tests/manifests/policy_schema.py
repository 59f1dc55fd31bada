"""Writes the JSON Schema of the policy, and its copy in the chart's values schema, for `make schema`."""

import json
from typing import Final

from tests.manifests import CHART, ROOT, Json
from webhook.policy.file import json_schema

POLICY: Final = ROOT / "examples" / "policy.schema.json"
VALUES: Final = CHART / "values.schema.json"


def policy() -> Json:
    """Return what `flyte-admission policy schema` prints, moved to #/$defs/policy of another schema."""
    text = json.dumps(json_schema()).replace('"#/$defs/', '"#/$defs/policy/$defs/')
    moved: Json = json.loads(text)
    del moved["$schema"]
    return moved


def main() -> None:
    values = json.loads(VALUES.read_text())
    values["$defs"]["policy"] = policy()
    for file, schema in ((POLICY, json_schema()), (VALUES, values)):
        file.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
