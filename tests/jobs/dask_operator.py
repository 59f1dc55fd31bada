"""A model of Dask's operator, written from its source: the Pods that it makes of a DaskJob.

Source: dask-kubernetes 2023.6 `dask_kubernetes/operator/controller/controller.py` (build_job_pod_spec,
build_scheduler_deployment_spec, build_worker_deployment_spec).
"""

from tests.apiserver import Json
from tests.jobs.kuberay import pod_of


def pods(job: Json) -> list[Json]:
    """The runner, the scheduler, and the workers, with the labels of the job."""
    labels, spec = job["metadata"]["labels"], job["spec"]
    cluster = spec["cluster"]["spec"]
    workers = [cluster["worker"]["spec"]] * cluster["worker"].get("replicas", 1)
    made = [spec["job"]["spec"], cluster["scheduler"]["spec"], *workers]
    return [pod_of({"metadata": {"labels": labels}, "spec": each}) for each in made]


def told(job: Json) -> dict[str, str]:
    """What `dask worker` is told, as its command line reads."""
    (worker,) = (it for it in job["spec"]["cluster"]["spec"]["worker"]["spec"]["containers"] if "args" in it)
    args = worker["args"]
    return dict(zip(args[3::2], args[4::2], strict=True))
