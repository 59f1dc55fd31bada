"""The examples: the program behind `make run`, and the files that it and the documents use."""

import json
import re
import subprocess
import sys

from click.testing import CliRunner

from tests.process import EXAMPLES, PATIENCE, examples, running
from webhook.cli.main import main

OUTCOMES = {
    "a4k7h2-n0-0": "changed",
    "a4k7h2-n1-0": "changed",
    "b9x3m1-n0-0": "changed",
    "c2d8f5-n0-0": "changed",
    "d6g1j9-n0-0": "changed",
    "d6g1j9-n1-0": "refused",
    "e5h8k2-n0-0": "changed",
    "e5h8k2-n1-0": "refused",
    "nginx": "allowed as it is",
}
SHOWN = r"^(\S+): (changed|refused|allowed as it is)\n((?:  .*\n)*)"
LINES = {
    "a4k7h2-n1-0": "  a4k7h2-n1-0 cpu 1/-              cpu 1, ephemeral-storage 1Gi, memory 500Mi\n",
    "b9x3m1-n0-0": "  tolerates   -                    nvidia.com/gpu:NoSchedule\n",
    "c2d8f5-n0-0": "  c2d8f5-n0-0 cpu 6                cpu 4, ephemeral-storage 1Gi\n",
    "d6g1j9-n1-0": '  403: pods "d6g1j9-n1-0" is forbidden: exceeded quota: project-quota,\n',
    "e5h8k2-n0-0": "  ray-head    ",
    "e5h8k2-n1-0": "requests.nvidia.com/gpu=8 (head 0,",
}


def test_the_demo_shows_each_pod_before_and_after_on_half_a_page_and_exits_with_0() -> None:
    result = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) < 40
    assert max(map(len, lines[1:])) <= 80
    told = {name: (outcome, text) for name, outcome, text in re.findall(SHOWN, result.stdout, re.MULTILINE)}
    assert {name: outcome for name, (outcome, _) in told.items()} == OUTCOMES
    for name, line in LINES.items():
        assert line in told[name][1]
    assert "6 changed, 2 refused, 1 allowed as it is" in lines
    assert "flyte-admission scan" in result.stdout
    assert "status page" in result.stdout


def test_the_example_policy_is_good() -> None:
    result = CliRunner().invoke(main, ["policy", "check", str(EXAMPLES / "policy.yaml")])
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_example_review_gets_a_patch() -> None:
    with running(*examples()) as server:
        response = server.client().review("/mutate", json.loads((EXAMPLES / "review.json").read_text()))
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")


def test_review_tells_of_the_example_jobs_what_the_server_tells() -> None:
    arguments = ["review", *map(str, examples()), "-o", "json", "-f", str(EXAMPLES / "jobs.yaml")]
    result = CliRunner().invoke(main, arguments)
    outcomes = [report["outcome"] for report in json.loads(result.stdout)]
    assert (result.exit_code, outcomes) == (1, ["changed", "refused"])


def test_review_tells_of_the_example_pods_what_the_server_tells() -> None:
    arguments = ["review", *map(str, examples()), "-o", "json", "-f", str(EXAMPLES / "pods.yaml")]
    result = CliRunner().invoke(main, arguments)
    outcomes = [report["outcome"] for report in json.loads(result.stdout)]
    assert (result.exit_code, outcomes) == (1, ["changed"] * 5 + ["refused", "ignored"])
