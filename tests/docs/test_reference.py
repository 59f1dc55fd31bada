"""docs/reference.md has every option, metric, log event and audit key, and no other."""

import ast

from tests.docs import reference
from tests.manifests import ROOT
from webhook.policy.file import json_schema


def test_the_page_is_what_the_programs_are() -> None:
    assert reference.PAGE.read_text() == reference.text(), "the programs have changed; run make schema"


def test_every_key_of_the_policy_is_described() -> None:
    assert [row for row in reference.keys_of_policy(json_schema()) if row.endswith("|  |")] == []


def test_every_event_of_the_log_is_described() -> None:
    unseen = {"overloaded", "log lines dropped"}  # made from a status, and by the log itself
    assert reference.logged() == set(reference.EVENTS) - unseen


def test_every_key_of_the_audit_log_is_described() -> None:
    source = ast.parse((ROOT / "webhook" / "admission" / "record.py").read_text())
    (audit,) = (node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == "audit")
    keys = {
        text
        for node in ast.walk(audit)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        for text in reference.texts(node.slice)
    }
    assert keys == set(reference.AUDIT)
