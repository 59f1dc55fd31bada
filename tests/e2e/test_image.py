"""The image, built from the Dockerfile and started as a cluster would: as nobody in particular, on a read-only root.

It takes buildah, and root to mount. Without a base image in BASE, Debian's Python stands in for it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import process as server
from tests.e2e.client import Json
from tests.e2e.rendering import run
from tests.manifests import ROOT
from webhook.server import tls

BASE = os.environ.get("BASE")
TOOLS = ["buildah", "chroot", "mount", "unshare", *([] if BASE else ["debootstrap"])]
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"no image is built without {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the image"),
]

DRIVER = os.environ.get("STORAGE_DRIVER", "vfs")  # slow, but works in containers as well
STAND_IN = "python3,python3-venv,ca-certificates"
# How pip gets at its index here, where it is told so outside of the environment.
PIP = [f"--volume={path}:{path}:ro" for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
# In a mount namespace of its own: the root read only, /tmp and files mounted as in a Pod, then the command.
START = """
root=$1; files=$2; shift 2
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount --bind --options ro "$files" "$root/mnt"
exec chroot "$@"
"""
NOBODY = 65532


@dataclass(frozen=True)
class Image:
    """A container's root, and what the image says is to be done with it."""

    root: Path
    config: Json

    def command(self, files: Path) -> list[str]:
        """What its own command goes behind, to be run as the image says, with the files under /mnt."""
        isolated = ["unshare", "--mount", "/bin/sh", "-euc", START, "sh", str(self.root), str(files)]
        return [
            *isolated,
            f"--userspec={self.config['User']}",
            str(self.root),
            "/usr/bin/env",
            "-i",
            *self.config["Env"],
        ]

    def run(self, files: Path, *command: str) -> str:
        """What the command prints."""
        return run(*self.command(files), *command)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        storage = [f"--storage-driver={DRIVER}", f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}"]
        buildah = ["buildah", *storage]
        base = BASE or _stand_in(folder, buildah)
        _built(buildah, ROOT, f"--build-arg=BASE={base}", "--tag=flyte-admission", *PIP)
        inspected = json.loads(run(*buildah, "inspect", "--type=image", "flyte-admission"))
        container = run(*buildah, "from", "flyte-admission").strip()
        yield Image(Path(run(*buildah, "mount", container).strip()), inspected["OCIv1"]["config"])
        run(*buildah, "umount", container)


def _stand_in(folder: Path, buildah: list[str]) -> str:
    """A base image of Debian with its Python."""
    context = folder / "context"
    run("debootstrap", "--variant=minbase", f"--include={STAND_IN}", "bookworm", context / "root")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    _built(buildah, context, "--tag=localhost/base")
    shutil.rmtree(context)
    return "localhost/base"


def _built(buildah: list[str], context: Path, *arguments: str) -> None:
    run(*buildah, "build", "--layers=false", *arguments, context, BUILDAH_ISOLATION="chroot")


def test_it_answers_over_tls_as_nobody_on_a_read_only_root(image: Image, tmp_path: Path) -> None:
    certificate, key = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    tmp_path.chmod(0o755)
    os.chown(key, NOBODY, NOBODY)
    for name in ("policy.yaml", "quotas.yaml"):
        shutil.copy(server.EXAMPLES / name, tmp_path)
    files = ["--tls-cert-file=/mnt/tls.crt", "--tls-private-key-file=/mnt/tls.key"]
    review = json.loads((server.EXAMPLES / "review.json").read_text())
    assert image.config["Cmd"] == ["flyte-admission", "serve"]
    program = [*image.command(tmp_path), "flyte-admission"]
    with server.running("--policy=/mnt/policy.yaml", "--quotas=/mnt/quotas.yaml", *files, program=program) as started:
        ids = Path(f"/proc/{started.process.pid}/status").read_text()
        started.listening["certificate"] = str(certificate)  # where it is outside
        answer = started.client().review("/mutate", review)
        assert started.health().get("/readyz").text == "ok\n"
        assert started.stop() == 0
    assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in ids
    assert (answer["allowed"], answer["patchType"]) == (True, "JSONPatch")


def test_it_is_nobodys_and_cannot_be_written_to(image: Image, tmp_path: Path) -> None:
    assert image.config["User"] == f"{NOBODY}:{NOBODY}"
    with pytest.raises(AssertionError, match="Read-only file system"):
        image.run(tmp_path, "touch", "/opt/flyte-admission/x")


@pytest.mark.parametrize("module", ["webhook", "certs"])
def test_it_has_both_programs(image: Image, tmp_path: Path, module: str) -> None:
    if not (ROOT / module).exists():
        pytest.skip(f"{module} is not part of this tree")
    assert "Usage: " in image.run(tmp_path, "python", "-m", module, "--help")


def test_it_has_bytecode_of_everything_and_nothing_to_build_or_install_with(image: Image, tmp_path: Path) -> None:
    ours = image.root / "opt" / "flyte-admission" / "lib"
    sources = [path for path in ours.rglob("*.py") if "site-packages" in path.parts]
    assert sources
    assert [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))] == []
    assert list(image.root.glob("usr/local/lib/python3.*/site-packages/*")) == []
    for module in ("pip", "ensurepip", "setuptools", "hatchling", "pytest"):
        with pytest.raises(AssertionError, match=f"No module named '?{module}"):
            image.run(tmp_path, "python", "-c", f"import {module}")
    for tool in ("gcc", "cc", "make", "pip", "pip3", "wheel"):
        with pytest.raises(AssertionError, match="No such file or directory"):
            image.run(tmp_path, tool)
