"""Write every workflow of workflows.py as flytekit registers it: one flyteidl.core.WorkflowClosure a file, NAME.pb.

    python serialize.py FOLDER EXAMPLES

EXAMPLES is a JSON list of the resources of containers, as Pods have them: example0.pb and so on are the workflow
`plain` with these in its task.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import workflows
from flyteidl.core.workflow_closure_pb2 import WorkflowClosure
from flytekit import Resources
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.resources import convert_resources_to_resource_model
from flytekit.core.workflow import PythonFunctionWorkflow
from flytekit.models.admin.workflow import WorkflowSpec
from flytekit.models.task import TaskSpec
from flytekit.tools.translator import get_serializable

SETTINGS = SerializationSettings(
    project="flytesnacks",
    domain="development",
    version="1",
    image_config=ImageConfig(default_image=Image("default", "example.com/flytekit", "1")),
)
NAMES = {"memory": "mem", "ephemeral-storage": "ephemeral_storage", "nvidia.com/gpu": "gpu"}  # flytekit's


def closure(workflow):
    """Return the workflow with its tasks."""
    made = OrderedDict()
    get_serializable(made, SETTINGS, workflow)
    tasks = [each.template.to_flyte_idl() for each in made.values() if isinstance(each, TaskSpec)]
    (flow,) = [each.template.to_flyte_idl() for each in made.values() if isinstance(each, WorkflowSpec)]
    return WorkflowClosure(workflow=flow, tasks=tasks)


def example(resources):
    """Return the workflow `plain` whose task asks for this."""
    made = closure(workflows.plain)
    requests, limits = (stated(resources.get(side) or {}) for side in ("requests", "limits"))
    asked = convert_resources_to_resource_model(requests=requests, limits=limits)
    made.tasks[0].container.resources.CopyFrom(asked.to_flyte_idl())
    return made


def stated(amounts):
    """Return the amounts as a task author writes them; None for none."""
    return Resources(**{NAMES.get(name, name): str(value) for name, value in amounts.items()}) if amounts else None


def main():
    folder, examples = Path(sys.argv[1]), json.loads(sys.argv[2])
    flows = {name: it for name, it in vars(workflows).items() if isinstance(it, PythonFunctionWorkflow)}
    made = {name: closure(it) for name, it in flows.items()}
    made |= {f"example{number}": example(it) for number, it in enumerate(examples)}
    for name, it in made.items():
        (folder / f"{name}.pb").write_bytes(it.SerializeToString())


if __name__ == "__main__":
    main()
