"""The CRDs of the kinds of jobs, out of the Go modules of their operators; no operator runs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

from tests.e2e.controlplane import binaries

# The CRD of each resource: the module, its checksum as in a go.sum, and the file in it.
RAY = ("github.com/ray-project/kuberay/ray-operator@v1.5.1", "h1:7FJYmB8oM+cnjv1VYCj/TfzRZG4XHvvt5Ayn5pZ5A1c=")
SPARK = ("github.com/kubeflow/spark-operator/v2@v2.5.2", "h1:6nX2UhwSfnYi1mtwczgFfJTMeLSL/1ajTvkFe8R7Vdc=")
DASK = (
    "github.com/dask/dask-kubernetes/v2023@v2023.0.0-20230626103304-abd02cd17b26",
    "h1:6RByIva89lKEvwIzNQSUNcu8NG1p1wwwC4mJfVk/kqw=",
)
KUBEFLOW = ("github.com/kubeflow/training-operator@v1.8.0", "h1:cHXIz7BV3Ayp7W5Rqe20/ukmVEzraI+O/XRYKBHQcrg=")
JOBSET = ("sigs.k8s.io/jobset@v0.12.0", "h1:YYPuV0px8Ongq/RXmJg6V0w2UC67aiR+rCMD06vhQQQ=")
CRDS: Final = {
    "rayjobs": (RAY, "config/crd/bases/ray.io_rayjobs.yaml"),
    "sparkapplications": (SPARK, "config/crd/bases/sparkoperator.k8s.io_sparkapplications.yaml"),
    "daskjobs": (DASK, "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds/daskjob.yaml"),
    "pytorchjobs": (KUBEFLOW, "manifests/base/crds/kubeflow.org_pytorchjobs.yaml"),
    "tfjobs": (KUBEFLOW, "manifests/base/crds/kubeflow.org_tfjobs.yaml"),
    "mpijobs": (KUBEFLOW, "manifests/base/crds/kubeflow.org_mpijobs.yaml"),
    "jobsets": (JOBSET, "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"),
}


def crds(folder: Path) -> dict[str, Path]:
    """The file of each CRD; the modules are downloaded in that folder, which is in no module."""
    return {resource: _module(folder, *module) / file for resource, (module, file) in CRDS.items()}


def _module(folder: Path, module: str, checksum: str) -> Path:
    command = [binaries.go(os.environ), "mod", "download", "-json", module]
    found = json.loads(subprocess.check_output(command, cwd=folder, env=os.environ))
    assert found["Sum"] == checksum, module
    return Path(found["Dir"])
