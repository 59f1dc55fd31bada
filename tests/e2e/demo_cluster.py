"""A cluster on this machine with the webhook in it, for `make demo-cluster`.

The control plane is real. kwok plays the nodes, and what would run on them: Pods are scheduled, and then run or wait.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from tests.e2e.client import Client, Json, path_of
from tests.e2e.controlplane import binaries, processes
from tests.e2e.controlplane.binaries import HERE, Binaries, MissingError
from tests.e2e.controlplane.processes import LOOPBACK, ControlPlane, free_ports
from tests.e2e.installed import POLICY, Installed, installed
from tests.e2e.rendering import NAMESPACE
from tests.manifests import BASE, ROOT

STAGES: Final = [
    "node/fast/node-initialize.yaml", "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml", "pod/fast/pod-complete.yaml", "pod/fast/pod-delete.yaml",
]  # fmt: skip
TAINT: Final = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}  # as examples/policy.yaml has it
GUIDE: Final = """
Kubernetes runs on this machine, with a node, a node with GPUs, and the webhook with {policy}.
In another shell, from the top of the checkout:

  export KUBECONFIG={kubeconfig}
  export PATH={programs}:"$PATH"
  export HEALTH={health}
  kubectl create -f examples/pods.yaml
  kubectl get pods --namespace flytesnacks-development --output wide
  kubectl get pods --namespace flytesnacks-development --output yaml | grep flyte-admission.io/changes
  curl --silent "$HEALTH/metrics" | grep ^flyte_admission_requests_total

The status page is {health}/status.
Press Ctrl-C here to end all of it."""


def add_node(admin: Client, name: str, *taints: Json, **devices: str) -> None:
    """Create a node of 8 cpus that no kubelet runs on."""
    capacity = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "200Gi", "pods": "110", **devices}
    admin.created(
        {
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
    )
    # The API server has added the taint of a node that is not ready, and no controller removes it here.
    admin.must("PATCH", path_of("Node", name=name), {"spec": {"taints": [*taints]}})


@contextmanager
def cluster(programs: Binaries, policy: Path) -> Iterator[tuple[ControlPlane, Installed]]:
    """The cluster with its nodes, its quotas, and the webhook, until the end of the block."""
    with ExitStack() as stack:
        plane = stack.enter_context(processes.running(programs))
        kubectl = [programs.path("kubectl"), f"--kubeconfig={plane.kubeconfig}", "apply"]
        for name in ("namespace.yaml", "rbac.yaml"):
            run(*kubectl, f"--filename={BASE / name}")
        admin = plane.client()
        stack.callback(admin.close)
        admin.created({"kind": "Namespace", "metadata": {"name": "flytesnacks-development"}})
        run(*kubectl, f"--filename={ROOT / 'examples' / 'quotas.yaml'}")
        add_node(admin, "node-1")
        add_node(admin, "gpu-1", TAINT, **{"nvidia.com/gpu": "2"})
        stages = binaries.module(os.environ, HERE / "kwok", "sigs.k8s.io/kwok") / "kustomize" / "stage"
        config = plane.folder / "kwok.yaml"
        config.write_text("\n---\n".join((stages / name).read_text() for name in STAGES))
        (port,) = free_ports(1)
        flags = [f"--kubeconfig={plane.kubeconfig}", f"--config={config}", "--manage-all-nodes=true"]
        plane.start(stack, "kwok", *flags, f"--server-address={LOOPBACK}:{port}")
        account = plane.service_account(NAMESPACE, "flyte-admission")
        found = stack.enter_context(installed(admin, plane.folder, f"--kubeconfig={account}", policy=policy))
        yield plane, found


def run(*command: str) -> None:
    """Run it without its output; CalledProcessError if it fails."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo-cluster", description=__doc__)
    parser.add_argument("--policy", type=Path, default=POLICY, metavar="FILE", help="the policy of the webhook")
    policy = parser.parse_args().policy

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell starts it in the background, without SIGINT
        signal.signal(number, stop)
    with suppress(KeyboardInterrupt), cluster(binaries.find(os.environ), policy) as (plane, found):
        health = found.server.listening["health"]
        folder = shlex.quote(str(plane.binaries.folder))
        print(GUIDE.format(policy=policy, kubeconfig=plane.kubeconfig, programs=folder, health=health), flush=True)
        signal.pause()


if __name__ == "__main__":
    try:
        main()
    except MissingError as error:
        sys.exit(str(error))
