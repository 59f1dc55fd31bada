"""The programs of a control plane: those in KUBEBUILDER_ASSETS, else built once, from Go modules, into a cache."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PINS = {"1.37": HERE, "1.36": HERE / "kubernetes-1.36"}  # what KUBERNETES chooses from; the first where it is not set
# Programs that do not share their dependencies with Kubernetes: each has a pin of its own.
APART = ("helm", "cert-manager", "kwok", "kube-score")
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
TOOLS = ("kubectl", "kustomize", "helm")
OLDEST_GO = (1, 26)
PINNED = re.compile(
    r"^\t\S+?/(kubernetes|helm|flytepropeller|cert-manager|kwok|kube-score|controller-runtime)(?:/v4)? "
    r"(v(\d+)\.(\d+)\S*)",
    re.MULTILINE,
)


class MissingError(Exception):
    """A program is not there and cannot be built; the message is one line and says what to install."""


@dataclass(frozen=True)
class Binaries:
    """Where each program is; those of APART are looked for when first asked for, since most tests do without them."""

    environment: Mapping[str, str]
    folder: Path

    def path(self, name: str) -> str:
        """The program of this name."""
        if name in APART and not (self.folder / name).exists():
            return str(_find(self.environment, HERE / name, (name,)) / name)
        return str(self.folder / name)


def find(environment: Mapping[str, str]) -> Binaries:
    """The programs that the environment names, else those built earlier, else built now; MissingError if none can be.

    Read are KUBEBUILDER_ASSETS, KUBERNETES, XDG_CACHE_HOME, HOME and PATH.
    """
    version = environment.get("KUBERNETES") or next(iter(PINS))
    if version not in PINS:
        raise MissingError(f"KUBERNETES={version}: not pinned here; accepted: {', '.join(PINS)}")
    return Binaries(environment, _find(environment, PINS[version], (*COMPONENTS, "kubectl", "kustomize")))


def _find(environment: Mapping[str, str], pin: Path, names: tuple[str, ...]) -> Path:
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        if missing := [name for name in names if not (Path(assets) / name).is_file()]:
            raise MissingError(
                f"KUBEBUILDER_ASSETS={assets}: without {', '.join(missing)}; add them, or unset it to build"
            )
        return Path(assets)
    try:
        return from_modules(environment, pin)
    except MissingError as error:
        programs = ", ".join((*COMPONENTS, *TOOLS))
        raise MissingError(
            f"no control plane for the e2e tests: {error}, or set KUBEBUILDER_ASSETS to a folder with {programs}"
        ) from None


def from_modules(environment: Mapping[str, str], pin: Path) -> Path:
    """The folder of the tools that the pin's go.mod names, built now if need be; MissingError if they cannot be.

    Read are XDG_CACHE_HOME, HOME and PATH.
    """
    built = folder(environment, pin)
    return built if built.is_dir() else _build(environment, pin, built)


def folder(environment: Mapping[str, str], pin: Path) -> Path:
    """The folder that the tools of the pin are in once they are built."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path(environment["HOME"]) / ".cache") / "flyte-admission"
    return cache / _key(pin)


def module(environment: Mapping[str, str], pin: Path, name: str) -> Path:
    """The folder of a module that the pin's go.mod names, which is downloaded at the first time."""
    command = [go(environment), "mod", "download", "-json", name]
    return Path(json.loads(subprocess.check_output(command, cwd=pin, env=environment))["Dir"])


def _version(pin: Path) -> re.Match[str]:
    """What the pin is made for, in its go.mod: name, version, and the version's major and minor."""
    found = PINNED.search((pin / "go.mod").read_text())
    assert found, pin
    return found


def _key(pin: Path) -> str:
    """A name for what the pin builds: a change of any version or source in it is another name."""
    sources = [it for it in sorted(pin.rglob("*.go")) if it.parent == pin or not (it.parent / "go.mod").exists()]
    content = b"".join(file.read_bytes() for file in (pin / "go.mod", pin / "go.sum", *sources))
    found = _version(pin)
    return f"{found[1]}-{found[2]}-{hashlib.sha256(content).hexdigest()[:12]}"


def _build(environment: Mapping[str, str], pin: Path, built: Path) -> Path:
    """Build every tool of the pin's go.mod."""
    command = [go(environment), "build", "-trimpath", "-ldflags", _linker_flags(pin), "-o"]

    def build(part: Path) -> None:
        made = subprocess.run(
            [*command, f"{part}/", "tool"], cwd=pin, env={**environment, "CGO_ENABLED": "0"}, check=False
        )
        if made.returncode:
            raise MissingError(f"{pin}: go build failed with exit code {made.returncode}; what it said is above")
        if (part / "server").exists():
            (part / "server").rename(part / "etcd")  # go names a program by the last part of its module's path

    return built_once(built, build)


def built_once(built: Path, build: Callable[[Path], None]) -> Path:
    """The folder that `build` has filled, now or earlier: it is there as a whole or not at all, whoever else builds."""
    built.parent.mkdir(parents=True, exist_ok=True)
    with _alone(built.parent / f"{built.name}.lock"):
        if not built.is_dir():
            print(f"building {built.name} into {built.parent}, once; Kubernetes and Flyte take minutes", flush=True)
            part = built.parent / f"{built.name}.part"
            shutil.rmtree(part, ignore_errors=True)  # of a build that was interrupted
            part.mkdir()
            build(part)
            part.rename(built)
    return built


def _linker_flags(pin: Path) -> str:
    """The version that the programs say they are: clients complain about one that says v0.0.0."""
    _, version, major, minor = _version(pin).groups()
    stamped = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamped.items())])


def go(environment: Mapping[str, str]) -> str:
    """The go command, new enough."""
    found = shutil.which("go", path=environment.get("PATH"))
    version = subprocess.check_output([found, "env", "GOVERSION"], text=True, cwd="/").strip() if found else "no Go"
    number = re.match(r"go(\d+)\.(\d+)", version)
    if found and number and (int(number[1]), int(number[2])) >= OLDEST_GO:
        return found
    raise MissingError(f"install Go {'.'.join(map(str, OLDEST_GO))} or newer (found: {version}) to have it built")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While nobody else is here; a process that ends in whatever way gives the lock back."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(find(os.environ).folder)
    except MissingError as error:
        sys.exit(str(error))
