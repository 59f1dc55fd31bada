"""Where the programs come from: found, built once, or told in one line what is missing."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.controlplane import binaries
from tests.e2e.controlplane.binaries import COMPONENTS, MissingError


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# A go that takes a moment to build, and counts its builds; `build -trimpath -ldflags FLAGS -o FOLDER/ tool`.
GO = """
test "$1" = env && { echo go1.26.8; exit; }
echo built >> "$BUILDS"
echo half > "$6/server"
sleep 0.2
echo whole > "$6/server"
echo kubectl > "$6/kubectl"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With the go above, and an empty cache."""
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "go", GO)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"), "BUILDS": str(tmp_path / "builds")}


def message(environment: dict[str, str], module: str = "tests.e2e.controlplane.binaries") -> str:
    """What `make e2e`, or another target, prints and fails with."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_folder_of_kubebuilder_assets_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in (*COMPONENTS, "kubectl", "kustomize", "helm"):
        (tmp_path / name).touch()
    found = binaries.find({"KUBEBUILDER_ASSETS": str(tmp_path)})
    assert [found.path(name) for name in ("etcd", "helm")] == [str(tmp_path / "etcd"), str(tmp_path / "helm")]


def test_what_is_missing_in_kubebuilder_assets_is_named(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):  # what envtest has
        (tmp_path / name).touch()
    assert "without kube-controller-manager, kube-scheduler, kustomize;" in message(
        {"KUBEBUILDER_ASSETS": str(tmp_path)}
    )


def test_without_go_it_says_what_to_install(tmp_path: Path) -> None:
    assert "install Go 1.26 or newer (found: no Go)" in message({"PATH": str(tmp_path), "HOME": str(tmp_path)})


def test_without_go_it_says_what_flyte_takes(tmp_path: Path) -> None:
    said = message({"PATH": str(tmp_path), "HOME": str(tmp_path)}, "tests.e2e.flyte.programs")
    assert said.startswith("no Flyte for the tests: install Go 1.26 or newer (found: no Go)")


def test_a_go_that_is_too_old_is_named(tmp_path: Path) -> None:
    program(tmp_path / "go", "echo go1.25.9")
    assert "(found: go1.25.9)" in message({"PATH": str(tmp_path), "HOME": str(tmp_path)})


def test_a_version_without_a_pin_is_refused() -> None:
    with pytest.raises(MissingError, match=r"KUBERNETES=1\.12: not pinned here; accepted: 1\.37, 1\.36"):
        binaries.find({"KUBERNETES": "1.12"})


def test_two_builders_at_once_build_once_and_both_get_the_whole(environment: dict[str, str]) -> None:
    with ThreadPoolExecutor() as pool:
        found = [each.result() for each in [pool.submit(binaries.find, environment) for _ in range(2)]]
    assert [Path(each.path("etcd")).read_text() for each in found] == ["whole\n"] * 2
    assert Path(environment["BUILDS"]).read_text() == "built\n"


def test_each_version_is_built_into_a_folder_of_its_own(environment: dict[str, str]) -> None:
    found = [binaries.find({**environment, "KUBERNETES": version}).folder.name for version in binaries.PINS]
    assert [name.rpartition("-")[0] for name in found] == ["kubernetes-v1.37.2", "kubernetes-v1.36.3"]


def test_a_change_of_a_source_is_built_into_another_folder(environment: dict[str, str], tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    shutil.copytree(binaries.HERE / "helm", pin)
    (pin / "main.go").write_text("package main")
    found = [binaries.from_modules(environment, pin) for _ in range(2)]
    (pin / "main.go").write_text("package main // changed")
    assert len({*found, binaries.from_modules(environment, pin)}) == 2
    assert Path(environment["BUILDS"]).read_text() == "built\n" * 2


def test_a_build_that_was_interrupted_is_not_taken_for_a_whole_one(environment: dict[str, str], tmp_path: Path) -> None:
    go = tmp_path / "bin" / "go"
    program(go, GO.replace("sleep 0.2", "exit 1"))
    with pytest.raises(MissingError, match="go build failed with exit code 1"):
        binaries.find(environment)
    program(go, GO)
    assert Path(binaries.find(environment).path("etcd")).read_text() == "whole\n"
    shutil.rmtree(environment["XDG_CACHE_HOME"])
