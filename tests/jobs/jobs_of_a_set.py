"""A model of the controllers of JobSet and of Jobs, written from their sources: the Pods of a JobSet at its start.

Sources: jobset `api/jobset/v1alpha2/jobset_types.go` (replicas, template), kubernetes `pkg/controller/job` (manageJob)
and its API defaults: parallelism is 1.
"""

from tests.apiserver import Json
from tests.jobs.kuberay import pod_of


def pods(jobset: Json) -> list[Json]:
    made = []
    for replicated in jobset["spec"]["replicatedJobs"]:
        job = replicated["template"]["spec"]
        wanted = job.get("parallelism", 1)
        if "completions" in job:  # those that are left to complete
            wanted = min(wanted, job["completions"])
        made += [pod_of(job["template"]) for _ in range(replicated.get("replicas", 1) * wanted)]
    return made
