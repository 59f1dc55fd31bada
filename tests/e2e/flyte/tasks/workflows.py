"""What task authors write, for the scenarios to launch."""

from flyteidl.plugins.ray_pb2 import HeadGroupSpec, RayCluster, RayJob, WorkerGroupSpec
from flytekit import ContainerTask, PodTemplate, PythonFunctionTask, Resources, kwtypes, map_task, task, workflow
from flytekit.extend import TaskPlugins
from google.protobuf.json_format import MessageToDict
from kubernetes.client.models import V1Container, V1PodSpec, V1ResourceRequirements, V1Toleration

IMAGE = "example.com/flytekit:1"


def small(**more):
    """Return one cpu and some memory, or what is given, as request and limit."""
    amounts = {"cpu": "1", "mem": "1Gi", **more}
    return {"requests": Resources(**amounts), "limits": Resources(**amounts)}


@task(container_image=IMAGE)
def plain_task() -> None: ...


@workflow
def plain() -> None:
    plain_task()


@task(container_image=IMAGE, limits=Resources(cpu="6", mem="1Gi"))
def over_limit_task() -> None: ...


@workflow
def over_limit() -> None:
    over_limit_task()


@task(container_image=IMAGE, **small(gpu="1"))
def gpu_task() -> None: ...


@workflow
def gpu() -> None:
    gpu_task()


@task(container_image=IMAGE, **small(), retries=2)
def one_cpu_task() -> None: ...


@workflow
def one_cpu() -> None:
    one_cpu_task()


@task(container_image=IMAGE, **small(cpu="2"), retries=2)
def two_cpus_task() -> None: ...


@workflow
def two_cpus() -> None:
    two_cpus_task()


@task(container_image=IMAGE, **small(cpu="4"), retries=2)
def four_cpus_task() -> None: ...


@workflow
def four_cpus() -> None:
    four_cpus_task()


@task(container_image=IMAGE, **small(gpu="2"), retries=2)
def two_gpus_task() -> None: ...


@workflow
def two_gpus() -> None:
    two_gpus_task()


@task(container_image=IMAGE, **small(cpu="2"), retries=2)
def element(a: int) -> None: ...


@workflow
def mapped() -> None:
    map_task(element, concurrency=0)(a=[1, 2, 3])


@task(container_image=IMAGE, **small())
def overridden(a: int) -> None: ...


@workflow
def mapped_overridden() -> None:
    map_task(overridden)(a=[1])


@task(container_image=IMAGE, interruptible=True, **small(), retries=1)
def interruptible_task() -> None: ...


@workflow
def interruptible() -> None:
    interruptible_task()


SIDECARS = PodTemplate(
    primary_container_name="primary",
    pod_spec=V1PodSpec(
        containers=[
            V1Container(name="primary", image=IMAGE),
            V1Container(name="log-shipper", image="example.com/shipper:1"),
            V1Container(
                name="greedy",
                image="example.com/greedy:1",
                resources=V1ResourceRequirements(limits={"cpu": "16", "memory": "1Gi"}, requests={"cpu": "16"}),
            ),
        ],
        init_containers=[V1Container(name="download", image="example.com/download:1")],
    ),
)


@task(container_image=IMAGE, pod_template=SIDECARS, **small())
def pod_task() -> None: ...


@workflow
def sidecar() -> None:
    pod_task()


@task(container_image=IMAGE, pod_template_name="shared", **small())
def named_template_task() -> None: ...


@workflow
def named_template() -> None:
    named_template_task()


def with_fpgas(count, *tolerations):
    """Return a template whose container has that many devices of a kind that propeller.yaml has a toleration for."""
    resources = V1ResourceRequirements(limits={"example.com/fpga": count})
    container = V1Container(name="primary", image=IMAGE, resources=resources)
    pod_spec = V1PodSpec(containers=[container], tolerations=list(tolerations))
    return PodTemplate(primary_container_name="primary", pod_spec=pod_spec)


@task(container_image=IMAGE, pod_template=with_fpgas("0"))
def no_fpgas_task() -> None: ...


@workflow
def no_fpgas() -> None:
    no_fpgas_task()


@task(container_image=IMAGE, pod_template=with_fpgas("1", V1Toleration(key="example.com/fpga", operator="Exists")))
def tolerated_fpga_task() -> None: ...


@workflow
def tolerated_fpga() -> None:
    tolerated_fpga_task()


raw = ContainerTask(
    name="raw", image="example.com/raw:1", inputs=kwtypes(a=int), outputs=kwtypes(b=int), command=["true"],
    input_data_dir="/in", output_data_dir="/out", **small(),
)  # fmt: skip


@workflow
def raw_container() -> int:
    return raw(a=1)


class RayConfig:
    """Stands for flytekitplugins-ray's, which needs all of Ray."""


class RayTask(PythonFunctionTask):
    """A task of the type and with the custom part that flytekitplugins-ray gives it."""

    def __init__(self, task_config, task_function, **more) -> None:
        super().__init__(task_config=task_config, task_function=task_function, task_type="ray", **more)

    def get_custom(self, settings) -> dict:  # noqa: ARG002 - as its base class has it
        groups = [WorkerGroupSpec(group_name="workers", replicas=2, min_replicas=2, max_replicas=2)]
        cluster = RayCluster(head_group_spec=HeadGroupSpec(), worker_group_spec=groups)
        return MessageToDict(RayJob(ray_cluster=cluster, shutdown_after_job_finishes=True))


TaskPlugins.register_pythontask_plugin(RayConfig, RayTask)


@task(container_image=IMAGE, task_config=RayConfig(), **small(cpu="2"), retries=1)
def ray_task() -> None: ...


@workflow
def ray() -> None:
    ray_task()
