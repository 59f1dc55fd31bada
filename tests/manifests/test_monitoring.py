"""Alerts and dashboard ask for metrics that there are."""

import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from tests.manifests import COMPONENTS, ROOT, documents
from webhook.telemetry.metrics import Metrics

FOLDER = COMPONENTS / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
OURS = re.compile(r"\bflyte_admission_\w+")


def exposed(text: str) -> set[str]:
    """The names of the samples in an exposition, and of those that come with a first label."""
    families = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    return {name for name, _ in families} | {f"{name}_bucket" for name, kind in families if kind == "histogram"}


def expressions() -> Iterator[str]:
    for group in documents(FOLDER / "prometheus-rule.yaml")[0]["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def test_what_is_asked_for_is_what_the_programs_expose() -> None:
    certs = pytest.importorskip("certs.metrics", reason="certs is not part of this tree", exc_type=ImportError)
    metrics = Metrics()
    metrics.observe_cache(lambda: 0.0, lambda: True, lambda: 0, lambda: 0)
    asked = {name for expression in expressions() for name in OURS.findall(expression)}
    exposition = b"".join(generate_latest(each.registry) for each in (metrics, certs.Metrics()))
    assert asked - exposed(exposition.decode()) == set()


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_what_that_means() -> None:
    (group,) = documents(FOLDER / "prometheus-rule.yaml")[0]["spec"]["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule


def test_every_alert_has_a_chapter_in_the_runbooks_and_no_chapter_is_left_over() -> None:
    (group,) = documents(FOLDER / "prometheus-rule.yaml")[0]["spec"]["groups"]
    chapters = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in group["rules"]] == chapters
    for rule in group["rules"]:
        url = f"https://example.com/flyte-admission/docs/runbooks.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == url


def test_the_dashboard_can_be_linked_to_and_finds_prometheus() -> None:
    sources = {source["datasource"]["uid"] for panel in DASHBOARD["panels"] for source in panel.get("targets", [])}
    assert (DASHBOARD["uid"], sources) == ("flyte-admission", {"${datasource}"})
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
