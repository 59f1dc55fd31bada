"""The examples: the program behind `make run`, and the files that it and the documents use."""

import json
import re
import subprocess
import sys

from click.testing import CliRunner

from tests.process import EXAMPLES, PATIENCE, examples, running
from webhook.cli.main import main

OUTCOMES = {
    "flytesnacks-development/a4k7h2-n0-0": "allowed, with a patch of 2 operations",
    "flytesnacks-development/a4k7h2-n1-0": "allowed, with a patch of 5 operations",
    "flytesnacks-development/b9x3m1-n0-0": "allowed, with a patch of 4 operations",
    "flytesnacks-development/c2d8f5-n0-0": "allowed, with a patch of 5 operations",
    "flytesnacks-development/d6g1j9-n0-0": "allowed, with a patch of 3 operations",
    "flytesnacks-development/d6g1j9-n1-0": "refused",
    "flytesnacks-development/nginx": "allowed as it is",
}
LINES = {
    "c2d8f5-n0-0": "lowered: limits cpu of c2d8f5-n0-0 from 6 to 4 (over the maximum 4)",
    "b9x3m1-n0-0": "tolerated: nvidia.com/gpu:NoSchedule (the Pod uses nvidia.com/gpu)",
    "d6g1j9-n1-0": "exceeded quota: project-quota, requested: limits.cpu=2, used: limits.cpu=11600m, limited: ",
}


def test_the_demo_prints_what_happens_to_each_pod_and_exits_with_0() -> None:
    result = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    told = dict(re.findall(r"^(\S+/\S+)\n((?:  .*\n)+)", result.stdout, re.MULTILINE))
    assert {name: lines.splitlines()[0].strip() for name, lines in told.items()} == OUTCOMES
    for name, line in LINES.items():
        assert line in told[f"flytesnacks-development/{name}"]


def test_the_example_policy_is_good() -> None:
    result = CliRunner().invoke(main, ["policy", "check", str(EXAMPLES / "policy.yaml")])
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_example_review_gets_a_patch() -> None:
    with running(*examples()) as server:
        response = server.client().review("/mutate", json.loads((EXAMPLES / "review.json").read_text()))
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")


def test_review_tells_of_the_example_pods_what_the_server_tells() -> None:
    arguments = ["review", *map(str, examples()), "-o", "json", "-f", str(EXAMPLES / "pods.yaml")]
    result = CliRunner().invoke(main, arguments)
    outcomes = [report["outcome"] for report in json.loads(result.stdout)]
    assert (result.exit_code, outcomes) == (1, ["changed"] * 5 + ["refused", "ignored"])
