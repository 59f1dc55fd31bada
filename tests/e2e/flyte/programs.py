"""What the scenarios run: programs of Flyte from Go modules, flytekit and an object store from PyPI, built once."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.controlplane import binaries
from tests.e2e.controlplane.binaries import MissingError, built_once

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
KUBERAY = "github.com/ray-project/kuberay/ray-operator"
CRDS = ("ray.io_rayclusters.yaml", "ray.io_rayjobs.yaml", "ray.io_rayservices.yaml")


@dataclass(frozen=True)
class Programs:
    """Where everything is."""

    flyte1: Path  # a folder: propeller, standin, ray-operator
    flyte2: Path  # a folder: client
    crds: Path  # a folder: KubeRay's
    python: Path  # has flytekit and moto


def find(environment: Mapping[str, str]) -> Programs:
    """The programs that were built earlier, else built now; MissingError if they cannot be.

    Read are XDG_CACHE_HOME, HOME and PATH.
    """
    try:
        flyte1, flyte2 = (binaries.from_modules(environment, HERE / pin) for pin in ("flyte1", "flyte2"))
        crds = built_once(flyte1.with_name(f"{flyte1.name}-crds"), lambda part: _copy_crds(environment, part))
    except MissingError as error:
        raise MissingError(f"no Flyte for the tests: {error}") from None
    locked = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return Programs(flyte1, flyte2, crds, built_once(flyte1.with_name(f"flytekit-{locked}"), _install) / "bin/python")


def are_built(environment: Mapping[str, str]) -> bool:
    """Whether `find` builds nothing but a virtual environment."""
    return all(binaries.folder(environment, HERE / pin).is_dir() for pin in ("flyte1", "flyte2"))


def _copy_crds(environment: Mapping[str, str], part: Path) -> None:
    """Copy KubeRay's CRDs out of its module."""
    command = [binaries.go(environment), "mod", "download", "-json", KUBERAY]
    module = json.loads(subprocess.check_output(command, cwd=HERE / "flyte1", env=environment))["Dir"]
    for name in CRDS:
        shutil.copyfile(Path(module) / "config" / "crd" / "bases" / name, part / name)


def _install(part: Path) -> None:
    """Make a virtual environment of what is locked; its scripts do not run, as they name the folder it was made in."""
    venv.create(part, with_pip=True)
    pip = [str(part / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run([*pip, "--require-hashes", "--requirement", str(REQUIREMENTS)], check=False)
    if made.returncode:
        raise MissingError(f"{REQUIREMENTS}: pip failed with exit code {made.returncode}; what it said is above")


if __name__ == "__main__":
    if sys.argv[1:] == ["--built"]:
        sys.exit(0 if are_built(os.environ) else "Flyte is not built here; `make flyte` builds it")
    try:
        print(find(os.environ).flyte1)
    except MissingError as error:
        sys.exit(str(error))
