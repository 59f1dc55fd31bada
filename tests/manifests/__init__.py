"""What the manifests hold, read as they are, without kustomize and helm; tests/e2e renders and applies them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

Json = dict[str, Any]

ROOT: Final = Path(__file__).parent.parent.parent
MANIFESTS: Final = ROOT / "manifests"
BASE: Final = MANIFESTS / "kustomize" / "base"
COMPONENTS: Final = MANIFESTS / "kustomize" / "components"
CHART: Final = MANIFESTS / "helm" / "flyte-admission"


def documents(file: Path) -> list[Json]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def objects() -> Iterator[Json]:
    """Those of the base and of its components, as their files have them."""
    for folder in (BASE, *sorted(COMPONENTS.iterdir())):
        for name in documents(folder / "kustomization.yaml")[0].get("resources", []):
            yield from documents(folder / name)


def named(kind: str, name: str) -> Json:
    """The only object of this kind and name."""
    (found,) = (each for each in objects() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def entries_for_jobs() -> dict[str, list[Json]]:
    """The entries that the component adds, by the kind of their configuration."""
    (component,) = documents(COMPONENTS / "jobs" / "kustomization.yaml")
    return {
        patch["target"]["kind"]: [operation["value"] for operation in yaml.safe_load(patch["patch"])]
        for patch in component["patches"]
    }
