"""`explain`: what was done with a Pod, from its record, from the audit log, and from the webhook's log."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.running import NAMESPACE, Json, dump, pod, run
from tests.fake_apiserver import FakeApiServer, in_thread, kubeconfig, page
from tests.process import EXAMPLES, examples, running
from tests.server.test_app import review
from webhook.policy.file import digest

POLICY = """\
task_resources:
  defaults:
    cpu: 500m
    memory: 500Mi
  limits:
    cpu: 4
    gpu: 2
    example.com/*: 1
pod_limits:
  {ephemeralStorage: 10Gi, cpu: 16}
secondary_defaults:
  memory: 64Mi
  cpu: 100m
plugins:
  k8s:
    resource-tolerations:
      nvidia.com/gpu: {key: gpu, operator: Exists}
    default-tolerations: [{key: flyte, operator: Exists}]
overrides:
  - domain: staging
    limits:
      cpu: 8
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def change(path: str, to: object, before: object = None, rule: str = "clamp", why: str = "over the maximum") -> Json:
    return {"path": path, "from": before, "to": to, "rule": rule, "why": why}


def record(*changes: Json, policy: str = digest(POLICY)) -> str:
    return json.dumps({"policy": policy, "changes": changes})


def changed(*changes: Json, namespace: str = NAMESPACE, policy: str = digest(POLICY)) -> Json:
    made = pod("a", namespace=namespace)
    made["metadata"]["annotations"] = {"flyte-admission.io/changes": record(*changes, policy=policy)}
    made["spec"]["containers"].append({"name": "beside", "image": "i"})
    return made


MAIN, BESIDE = "/spec/containers/main/resources", "/spec/containers/beside/resources"
DEFAULT = "not set; the default"


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (change(f"{MAIN}/limits/cpu", "4", "6"), 6),
        (change(f"{MAIN}/limits/nvidia.com~1gpu", "2", "3"), 7),
        (change(f"{MAIN}/limits/example.com~1fpga", "1", "3"), 8),
        (change(f"{MAIN}/limits/memory", "1", "3"), None),
        (change(f"{MAIN}/limits/ephemeral-storage", "5Gi", "20Gi"), 10),
        (change(f"{MAIN}/requests/cpu", "500m", rule="fill", why=DEFAULT), 3),
        (change(f"{MAIN}/limits/cpu", "500m", rule="fill", why="not set; same as the request"), None),
        (change(f"{MAIN}/limits/cpu", "4", rule="fill", why="not set, and there is no default; the maximum 4"), 6),
        (change(f"{BESIDE}/requests/memory", "64Mi", rule="fill", why=DEFAULT), 12),
        (change(f"{BESIDE}/requests/ephemeral-storage", "1", rule="fill", why=DEFAULT), None),
        (change("/spec/resources/requests/memory", "500Mi", rule="fill", why=DEFAULT), 4),
        (change("/spec/tolerations/-", {"key": "gpu", "operator": "Exists"}, rule="tolerate", why="gpu"), 17),
        (change("/spec/tolerations/-", {"key": "flyte", "operator": "Exists"}, rule="tolerate", why="all"), 18),
        (change("/spec/tolerations/-", {"key": "other", "operator": "Exists"}, rule="tolerate", why="own"), None),
        (change(f"{MAIN}/limits/cpu", "3", "6", why="3/4 of the 16 that the Pod as a whole may have"), 10),
        (change(f"{MAIN}/limits/cpu", [1]), 10),
        (change(f"{MAIN}/limits/cpu", "many"), 10),
    ],
)
def test_each_change_has_the_line_of_the_policy_that_says_so(policy: Path, made: Json, line: int | None) -> None:
    result = run("explain", "--policy", policy, "-f", "-", "-o", "json", stdin=changed(made))
    (found,) = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert found["changes"] == [made | {"line": f"{policy}:{line}" if line else ""}]


def test_an_override_says_its_own_line(policy: Path) -> None:
    made = changed(change(f"{MAIN}/limits/cpu", "8", "9"), namespace="flytesnacks-staging")
    (found,) = json.loads(run("explain", "--policy", policy, "-f", "-", "-o", "json", stdin=made).stdout)
    assert found["changes"][0]["line"] == f"{policy}:22"


def test_a_cpu_limit_that_was_removed_has_the_line_that_removes_them(tmp_path: Path, policy: Path) -> None:
    made = changed(change(f"{MAIN}/limits/cpu", None, "2", "cpu-limits", "cpu_limits: remove"))
    removes = tmp_path / "removes.yaml"
    removes.write_text(f"{POLICY}cpu_limits: remove\n")
    for file, line in ((removes, f"{removes}:23"), (policy, "")):
        (found,) = json.loads(run("explain", "--policy", file, "-f", "-", "-o", "json", stdin=made).stdout)
        assert found["changes"][0]["line"] == line


def test_the_record_of_a_pod_is_shown_in_words(policy: Path) -> None:
    made = changed(change(f"{MAIN}/limits/cpu", "4", "6", why="over the maximum 4"))
    result = run("explain", "a", "--policy", policy, "-f", "-", stdin=dump(made, pod("b")))
    assert result.stdout.splitlines() == [
        f"{NAMESPACE}/a: changed, by its record",
        f"  lowered: limits cpu of main from 6 to 4 (over the maximum 4)  # {policy}:6",
        f"  policy: {digest(POLICY)}",
    ]


def test_the_record_of_a_job_is_shown_with_the_lines_of_each_role(tmp_path: Path, policy: Path) -> None:
    jobs = EXAMPLES / "jobs.yaml"
    made = json.loads(run("review", "--policy", policy, "-f", jobs, "-o", "json").stdout)
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps(dump(made[0]["result"])))
    shown = run("explain", "e5h8k2-n0-0", "--policy", policy, "-f", stored).stdout.splitlines()
    assert shown[0] == f"{NAMESPACE}/e5h8k2-n0-0: changed, by its record"
    head = "ray-head (rayClusterSpec/headGroupSpec)"
    assert f"  lowered: limits cpu of {head} from 6 to 4 (over the maximum 4)  # {policy}:6" in shown
    assert any(
        line.startswith("  tolerated: flyte:every effect (") and line.endswith(f"# {policy}:18") for line in shown
    )
    assert any(
        line.startswith("  lowered: rayClusterSpec/headGroupSpec/rayStartParams/num-cpus from 6") for line in shown
    )


def test_the_default_of_a_secondary_container_of_a_job_has_its_own_line(policy: Path) -> None:
    (job, _) = yaml.safe_load_all((EXAMPLES / "jobs.yaml").read_text())
    pod_spec = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    pod_spec["containers"] = [{"name": "ray-head", "image": "i"}, {"name": "beside", "image": "i"}]
    (made,) = json.loads(run("review", "--policy", policy, "-f", "-", "-o", "json", stdin=job).stdout)
    shown = run("explain", "--policy", policy, "-f", "-", stdin=made["result"]).stdout
    for name, amount, line in (("ray-head", "500Mi", 4), ("beside", "64Mi", 12)):
        what = f"set: requests memory of {name} (rayClusterSpec/headGroupSpec) to {amount}"
        assert f"{what} (not set; the default)  # {policy}:{line}\n" in shown


def test_another_policy_than_that_of_the_record_is_reported(policy: Path) -> None:
    made = changed(change(f"{MAIN}/limits/cpu", "4", "6"), policy="0123456789ab")
    shown = run("explain", "--policy", policy, "-f", "-", stdin=made).stdout
    assert shown.endswith(f"  policy: 0123456789ab; the one given is {digest(POLICY)}\n")
    assert run("explain", "-f", "-", stdin=made).stdout.endswith("  policy: 0123456789ab\n")


def test_a_pod_without_a_record_was_not_changed_and_one_with_too_many_says_how_many() -> None:
    many = pod("b")
    many["metadata"]["annotations"] = {"flyte-admission.io/changes": '{"policy": "p", "omitted": 7}'}
    shown = run("explain", "-f", "-", stdin=dump(pod("a"), many)).stdout
    assert shown.splitlines() == [
        f"{NAMESPACE}/a: has no record; it needed no change, or was made without the webhook",
        f"{NAMESPACE}/b: changed, by its record",
        "  7 changes, which the audit log has",
        "  policy: p",
    ]


def test_a_record_that_somebody_else_wrote_breaks_neither_the_program_nor_the_terminal(policy: Path) -> None:
    made = changed(
        change("/spec/tolerations/-", 5, rule="tolerate"),
        change("/spec/template/spec/tolerations/-", None, rule="tolerate"),
        change("nowhere", {"a": [None]}, why="\x1b[2Jgone\nnext"),
        change(f"{MAIN}/limits/cpu", "9" * 600),
        policy="\x1b]0;title\x07",
    )
    for options in ([], ["-o", "json"], ["-o", "yaml"]):
        result = run("explain", "--policy", policy, "-f", "-", *options, stdin=made)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
    assert "  /spec/tolerations/-" in run("explain", "-f", "-", stdin=made).stdout.splitlines()


def event(**parts: object) -> Json:
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "requestReceivedTimestamp": "2026-11-30T03:00:00.000000Z",
        "objectRef": {"resource": "pods", "namespace": NAMESPACE, "name": "a"},
        **parts,
    }


REFUSED = {"code": 403, "reason": "Forbidden", "message": 'admission webhook "flyte1.flyte-admission.io" denied: no'}


def test_an_audit_event_has_what_was_changed_and_what_flyte_got(policy: Path, tmp_path: Path) -> None:
    first, second = (record(change(f"{MAIN}/limits/{name}", "4", "6")) for name in ("cpu", "memory"))
    notes = {
        "flyte1.flyte-admission.io/changes": first,
        "flyte1.flyte-admission.io/more-changes": second,
        "flyte1.flyte-admission.io/outlook": "fits-later",
        "flyte1.flyte-admission.io/notes": "cpu limits are kept: this is a resize",
        "flyte1.flyte-admission.io/exempted": "clamp: a demo",
        "mutation.webhook.admission.k8s.io/round_0_index_0": "{}",
        "authorization.k8s.io/decision": "allow",
    }
    log = tmp_path / "audit.log"
    log.write_text(json.dumps(event(annotations=notes, responseStatus=REFUSED)) + "\n")
    as_file = run(
        "explain", "-f", "-", "--policy", policy, stdin=json.dumps(event(annotations=notes, responseStatus=REFUSED))
    )
    as_log = run("explain", "a", "--log", log, "--policy", policy)
    about = {"apiGroup": "ray.io", "resource": "rayjobs", "namespace": NAMESPACE, "name": "a"}
    log.write_text(json.dumps(event(annotations=notes, responseStatus=REFUSED, objectRef=about)) + "\n")
    assert run("explain", "a", "--log", log, "--policy", policy).stdout == as_log.stdout
    assert as_file.stdout == as_log.stdout
    assert as_log.stdout.splitlines() == [
        f"{NAMESPACE}/a: refused, by the audit log of 2026-11-30T03:00:00.000000Z",
        f"  lowered: limits cpu of main from 6 to 4 (over the maximum)  # {policy}:6",
        "  lowered: limits memory of main from 6 to 4 (over the maximum)",
        "  outlook: fits-later",
        "  notes: cpu limits are kept: this is a resize",
        "  exempted: clamp: a demo",
        f"  answer: 403 Forbidden: {REFUSED['message']}",
        f"  policy: {digest(POLICY)}",
    ]


def test_a_line_of_the_policy_that_states_another_amount_is_not_shown(policy: Path) -> None:
    made = record(
        change(f"{MAIN}/limits/cpu", "16", "20"), change(f"{MAIN}/requests/memory", "2Gi", why="not set; the default")
    )
    audited = event(annotations={"flyte1.flyte-admission.io/changes": made}, responseStatus=REFUSED)
    other = POLICY.replace("pod_limits:\n  {ephemeralStorage: 10Gi, cpu: 16}\n", "")
    policy.write_text(f"{other}  - {{workflow: core.fit, defaults: {{memory: 2Gi}}, limits: {{cpu: 16}}}}\n")
    shown = json.loads(run("explain", "-f", "-", "--policy", policy, "-o", "json", stdin=audited).stdout)
    assert [each["line"] for each in shown[0]["changes"]] == ["", ""]


@pytest.mark.parametrize(
    "parts",
    [
        {"stage": "RequestReceived"},
        {"verb": "get", "responseStatus": {"code": 404, "reason": "NotFound", "message": "gone"}},
        {"verb": "patch", "objectRef": {"resource": "pods", "subresource": "status", "namespace": "n", "name": "a"}},
        {"objectRef": {"resource": "secrets", "namespace": "kube-system", "name": "a"}, "responseStatus": REFUSED},
    ],
)
def test_events_that_are_no_reviews_of_ours_are_passed_over(tmp_path: Path, parts: Json) -> None:
    log = tmp_path / "audit.log"
    log.write_text(json.dumps(event(**parts)) + "\n")
    assert run("explain", "a", "--log", log).exit_code == 1


@pytest.mark.parametrize(
    "before",
    ["", "2026-11-30T03:00:00.1Z ", "[pod/flyte-admission-5d/webhook] ", "2026-11-30T03:00:00Z stderr F "],
    ids=["raw", "--timestamps", "--prefix", "of a node"],
)
def test_what_stands_before_the_json_of_a_line_does_not_matter(tmp_path: Path, before: str) -> None:
    log = tmp_path / "webhook.log"
    line = {"event": "review", "namespace": NAMESPACE, "name": "a", "decision": "denied", "endpoint": "/mutate",
            "mode": "enforce", "refusal": "no", "code": 403}  # fmt: skip
    log.write_text(f"{before}{json.dumps(line)}\n{before}{json.dumps(event(responseStatus=REFUSED))}\n")
    found = json.loads(run("explain", "a", "--log", log, "-o", "json").stdout)
    assert [each["refusal"] for each in found] == ["403 no", f"403 Forbidden: {REFUSED['message']}"]


def test_events_of_the_cluster_are_no_audit_events(tmp_path: Path) -> None:
    of_pod = {"kind": "Event", "involvedObject": {"kind": "Pod", "name": "a"}, "reason": "Scheduled"}
    log = tmp_path / "events.log"
    for version in ("v1", "events.k8s.io/v1"):
        stated = event() | of_pod | {"apiVersion": version}
        log.write_text(json.dumps(stated))
        of_list: Json = {
            "kind": "EventList",
            "apiVersion": version,
            "items": [event() | of_pod | {"apiVersion": version}],
        }
        assert run("explain", "--log", log).exit_code == 1
        assert run("explain", "-f", "-", stdin=dump(stated)).exit_code == 1
        del of_list["items"][0]["apiVersion"], of_list["items"][0]["kind"]
        assert run("explain", "-f", "-", stdin=of_list).exit_code == 1


def test_a_dry_run_is_marked(tmp_path: Path) -> None:
    audited = event(requestURI="/api/v1/namespaces/n/pods?dryRun=All&fieldManager=f", responseStatus=REFUSED)
    line = {"event": "review", "namespace": NAMESPACE, "name": "b", "refusal": "no", "code": 403, "dry_run": True}
    log = tmp_path / "log"
    log.write_text("\n".join(map(json.dumps, (audited, line, event(), line | {"dry_run": False}))))
    shown = run("explain", "--log", log).stdout
    assert [each.split(", ")[0] for each in shown.splitlines() if each.startswith(NAMESPACE)] == [
        f"{NAMESPACE}/a: refused in a dry run", f"{NAMESPACE}/b: refused in a dry run", f"{NAMESPACE}/a: not changed",
        f"{NAMESPACE}/b: refused",
    ]  # fmt: skip


def test_an_event_in_a_mode_that_only_reports_says_that_nothing_was_done() -> None:
    notes = {"flyte2.flyte-admission.io/mode": "audit", "flyte2.flyte-admission.io/refusal": "413 Too large: no"}
    shown = run("explain", "-f", "-", stdin=json.dumps(event(annotations=notes))).stdout
    assert shown.splitlines() == [
        f"{NAMESPACE}/a: would have been refused, by the audit log of 2026-11-30T03:00:00.000000Z",
        "  answer in the mode enforce: 413 Too large: no",
        "  nothing was done: the mode was audit",
    ]


def test_an_event_of_others_and_a_damaged_one_explain_nothing_and_break_nothing() -> None:
    strange = [
        event(objectRef=None, annotations={"x.flyte-admission.io/changes": "{"}, requestReceivedTimestamp=7),
        event(annotations=[], responseStatus={"code": "x"}),
    ]
    result = run("explain", "-f", "-", stdin={"kind": "EventList", "items": strange})
    assert (result.exit_code, result.stdout.splitlines()) == (0, [
        "/Unknown: not changed, by the audit log of an unknown time",
        f"{NAMESPACE}/a: not changed, by the audit log of 2026-11-30T03:00:00.000000Z",
    ])  # fmt: skip


def test_the_log_of_the_webhook_has_the_refusal_of_a_pod_that_is_gone(tmp_path: Path) -> None:
    large = review(NAMESPACE)
    with running(*examples()) as server:
        for name in ("a", "b", "c", "d"):
            large["request"]["object"]["metadata"]["name"] = name
            large["request"]["name"] = name
            server.client().review("/mutate", large)
        server.stop()
    log = tmp_path / "webhook.log"
    log.write_text("".join(["not JSON\n", "[]\n", *server.lines]))
    result = run("explain", "d", "--log", log)
    first, *notes, last = result.stdout.splitlines()
    assert (result.exit_code, ": refused, by the log of 20" in first) == (0, True)
    assert "  /mutate decided: denied" in notes
    assert last.startswith("  answer: 403 ")
    assert "exceeded quota: project-quota" in last


def test_a_log_of_a_mode_that_only_reports_and_without_names(tmp_path: Path) -> None:
    log = tmp_path / "webhook.log"
    line = {"event": "review", "mode": "warn", "decision": "changed", "changes": {"fill": 2, "clamp": "x"}}
    log.write_text(json.dumps(line))
    assert run("explain", "--log", log).stdout.splitlines() == [
        "/Unknown: would have been changed, by the log of an unknown time",
        "  2 changes, which the audit log has",
        "   decided: changed",
        "  changes by fill: 2",
        "  changes by clamp: x",
        "  nothing was done: the mode was warn",
    ]


def test_a_pod_of_a_cluster_is_read_by_its_name(policy: Path, tmp_path: Path) -> None:
    made = changed(change(f"{MAIN}/limits/cpu", "4", "6"))
    with in_thread(FakeApiServer({"live": [page(made)]})) as server:
        config = kubeconfig(tmp_path, server.url)
        result = run("explain", "a", "-n", NAMESPACE, "--kubeconfig", config, "--policy", policy, "-o", "yaml")
    (found,) = yaml.safe_load(result.stdout)
    assert (found["pod"], found["changes"][0]["line"]) == ("a", f"{policy}:6")
    (asked,) = server.requests
    assert (asked.path, asked.query["fieldSelector"]) == (f"/api/v1/namespaces/{NAMESPACE}/pods", "metadata.name=a")


def test_where_nothing_is_found_it_says_where_to_look() -> None:
    result = run("explain", "z", "-f", "-", stdin=dump(pod("a")))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nothing about z there; of one that is gone, the audit log has the record\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of -f FILE, --log FILE and --kubeconfig FILE is needed"),
        (["a", "--kubeconfig", __file__], "--kubeconfig needs POD and -n NAMESPACE"),
        (["-n", "x", "--kubeconfig", __file__], "--kubeconfig needs POD and -n NAMESPACE"),
        (["--log", "missing.log"], "missing.log"),
    ],
)
def test_wrong_usage_is_reported(arguments: list[str], said: str) -> None:
    result = run("explain", *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True)
