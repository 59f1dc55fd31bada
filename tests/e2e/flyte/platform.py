"""Flyte 1 on a control plane: propeller, KubeRay and an object store, launched into and heard through the stand-in."""

import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.client import PATHS, Client, Json, path_of, wait_for
from tests.e2e.controlplane.processes import LOOPBACK, Component, ControlPlane, free_ports, started
from tests.e2e.flyte.programs import HERE, Programs

POLICY = HERE / "policy.yaml"
BUCKET = "my-s3-bucket"
SOON = 90.0  # seconds for what propeller does in its rounds
PATHS |= {
    "PodTemplate": ("/api/v1", "podtemplates", True),
    "Event": ("/api/v1", "events", True),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "RayCluster": ("/apis/ray.io/v1", "rayclusters", True),
}


def task_resources(block: Json) -> Json:
    """`task_resources` of a policy as flyteadmin has it: all amounts are text."""
    return {
        side: {name: str(amount) for name, amount in block.get(side, {}).items()} for side in ("defaults", "limits")
    }


PLATFORM = task_resources(yaml.safe_load(POLICY.read_text())["task_resources"])
NONE: Json = {}  # of a Flyte that is told nothing


@dataclass
class Flyte:
    """What runs, and what it takes to launch something."""

    admin: Client
    kubeconfig: Path
    programs: Programs
    folder: Path
    components: list[Component] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=lambda: count(1))

    def launch(self, workflow: str, namespace: str, platform: Json = PLATFORM, **more: Any) -> "Execution":
        """Launch the workflow of `tasks` in the project of the namespace; `more` are flags of the stand-in."""
        name = f"a{next(self.names)}"
        flags = {
            "kubeconfig": self.kubeconfig, "closure": self.folder / f"{workflow}.pb", "name": name,
            "project": namespace.removesuffix("-development"), "namespace": namespace,
            "task-resources": json.dumps(platform), **more,
        }  # fmt: skip
        command = [
            str(self.programs.flyte1 / "standin"),
            "launch",
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Execution(self, namespace, name)

    def events(self) -> Iterator[Json]:
        """All that propeller has told flyteadmin."""
        lines = (self.folder / "events.jsonl").read_text().splitlines(keepends=True)
        return (json.loads(line) for line in lines if line.endswith("\n"))

    def check(self) -> None:
        """Fail if a process has ended."""
        ended = [it.tail() for it in self.components if it.process.poll() is not None]
        assert not ended, "\n".join(ended)


@dataclass(frozen=True)
class Execution:
    """One run of a workflow."""

    flyte: Flyte
    namespace: str
    name: str

    def pods(self) -> list[Json]:
        """Its Pods, the oldest first."""
        found = self.flyte.admin.items("Pod", self.namespace)
        own = [it for it in found if it["metadata"]["name"].startswith(f"{self.name}-")]
        return sorted(own, key=lambda it: (it["metadata"]["creationTimestamp"], it["metadata"]["name"]))

    def pod(self, seconds: float = SOON, but: Sequence[str] = ()) -> Json:
        """Its first Pod but those of these names, once it has a node."""

        def look() -> Json | None:
            found = [it for it in self.pods() if it["metadata"]["name"] not in but]
            return found[0] if found and found[0]["spec"].get("nodeName") else None

        return wait_for(f"a Pod of {self.name} on a node", look, seconds)

    def events(self, kind: str) -> list[Json]:
        """What flyteadmin was told of it: of the `workflow`, or of its `task`s."""
        found = [it["event"] for it in self.flyte.events() if it["kind"] == kind]
        return [it for it in found if _execution(it) == self.name]

    def phases(self, kind: str) -> list[str]:
        """The phases of these events."""
        return [it.get("phase", "UNDEFINED") for it in self.events(kind)]

    def until(self, phase: str, kind: str = "workflow", seconds: float = SOON) -> Json:
        """The first event of the phase; TimeoutError says what there was instead."""

        def look() -> Json | None:
            return next((it for it in self.events(kind) if it.get("phase") == phase), None)

        try:
            return wait_for(f"{self.name} to be {phase}", look, seconds)
        except TimeoutError as error:
            told = [(it.get("phase"), reasons(it), it.get("error")) for it in self.events(kind)]
            raise TimeoutError(f"{error}; {told}") from None


def _execution(event: Json) -> str:
    """The name of the execution that the event is of."""
    owner = event.get("parent_node_execution_id") or event
    return str(owner.get("execution_id", {}).get("name", ""))


def reasons(event: Json) -> list[str]:
    """What the user sees of a task."""
    return [it["reason"] for it in event.get("reasons", [])] or [it for it in [event.get("reason")] if it]


@contextmanager
def running(plane: ControlPlane, programs: Programs, folder: Path, examples: Sequence[Json]) -> Iterator[Flyte]:
    """Flyte 1 on the control plane; `examples` are what the tasks of example0 and so on ask for."""
    admin = plane.client()
    flyte = Flyte(admin, plane.kubeconfig, programs, folder)
    serialize = [str(programs.python), str(HERE / "tasks" / "serialize.py"), str(folder), json.dumps(examples)]
    subprocess.run(serialize, check=True)
    for crd in sorted(programs.crds.iterdir()):
        admin.created(yaml.safe_load(crd.read_text()))
    with ExitStack() as stack:
        stack.callback(admin.close)
        for component in _processes(stack, flyte):
            flyte.components.append(component)
        yield flyte
        flyte.check()


def _processes(stack: ExitStack, flyte: Flyte) -> Iterator[Component]:
    """Start one after the other; each is there for those after it."""
    store, hears, profiler, metrics, probes = free_ports(5)

    def start(name: str, *command: str | Path | int, **environment: str) -> Component:
        return started(stack, flyte.folder, name, list(map(str, command)), {**os.environ, **environment})

    yield start("store", flyte.programs.python, "-m", "moto.server", "-H", LOOPBACK, "-p", store)
    wait_for("a bucket", lambda: _bucket(store))
    bin1 = flyte.programs.flyte1
    listen = f"{LOOPBACK}:{hears}"
    yield start("flyteadmin", bin1 / "standin", "admin", "--listen", listen, "--events", flyte.folder / "events.jsonl")
    config = yaml.safe_load((HERE / "propeller.yaml").read_text())
    config["propeller"] |= {"prof-port": profiler, "kube-config": str(flyte.kubeconfig)}
    config["storage"]["connection"]["endpoint"] = f"http://{LOOPBACK}:{store}"
    config["admin"]["endpoint"] = f"localhost:{hears}"  # not the address, which does not read as a URL
    (flyte.folder / "propeller.yaml").write_text(yaml.safe_dump(config))
    yield start("propeller", bin1 / "propeller", "--config", flyte.folder / "propeller.yaml", POD_NAMESPACE="flyte")
    crd = path_of("CustomResourceDefinition", name="flyteworkflows.flyte.lyft.com")
    wait_for("propeller's CRD", lambda: flyte.admin.ask("GET", crd).code == 200, SOON)
    yield start(
        "kuberay", bin1 / "ray-operator", "--kubeconfig", flyte.kubeconfig, "--enable-leader-election=false",
        f"--metrics-addr={LOOPBACK}:{metrics}", f"--health-probe-bind-address={LOOPBACK}:{probes}",
        ENABLE_WEBHOOKS="false",
    )  # fmt: skip


def _bucket(port: int) -> bool:
    """Whether the object store has made the bucket of propeller.yaml."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("PUT", f"/{BUCKET}")
        return connection.getresponse().status in (200, 409)
    except OSError:
        return False
    finally:
        connection.close()
