"""Writes docs/reference.md from the programs themselves, for `make schema`."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import click
from prometheus_client import CollectorRegistry

from certs.metrics import Metrics as CertsMetrics
from tests.manifests import ROOT, Json
from webhook.cli.main import main
from webhook.policy.file import json_schema
from webhook.telemetry.metrics import Metrics

PAGE: Final = ROOT / "docs" / "reference.md"
HEAD: Final = """# Reference

This page is made from the programs: `make schema` writes it, and a test compares it. The keys of the policy file are in
[The policy file](policy.md) and its [JSON Schema](../examples/policy.schema.json), the values of the chart in
[its README](../manifests/helm/flyte-admission/README.md).
"""
EVENTS: Final = {
    "ResourceQuota left out, it cannot be read": "A quota has an amount that cannot be read. The other quotas decide.",
    "bad request": "A request is not an AdmissionReview, or not HTTP as it should be; the client gets an HTTP error.",
    "caBundle written": "`certs` has changed the caBundle of a webhook configuration.",
    "certificate in order": "What was wrong with the serving certificate is right again.",
    "certificate in use": "A new serving certificate is used from now on.",
    "certificate needs attention": "The serving certificate or its CA expires, or clients do not trust it.",
    "certificate not in use, the last good one is kept": "The files of the certificate cannot be used.",
    "certificate replaced": "`certs` has issued a certificate and written it to the Secret.",
    "client CAs in use": "New content of `--client-ca-file` is used from now on.",
    "client CAs not in use, the last good ones are kept": "The file of `--client-ca-file` cannot be used.",
    "draining": "SIGTERM came: the replica is unready, and answers until the shutdown delay is over.",
    "follower failed": "What keeps up with a file or the cluster had an unexpected error, and tries again.",
    "listening": "The server is up, at these addresses.",
    "log lines dropped": "Nobody read stderr for a while; so many lines were lost.",
    "no quotas": "`--no-quotas` is set.",
    "overloaded": "Too many large bodies came at the same time; the client gets a 503.",
    "pass failed": "A pass of `certs` failed; the next one tries again.",
    "policy": "The policy has warnings.",
    "policy in use": "A policy is used from now on.",
    "policy not in use, the last good one is kept": "The policy file cannot be used.",
    "too many ResourceQuotas": "A namespace has more quotas than a review reads; the API server checks the rest.",
    "too many LimitRanges": "A namespace has more LimitRanges than a review reads; the API server checks the rest.",
    "LimitRange left out, it cannot be read": "A LimitRange has an amount that cannot be read. The others count.",
    "limit ranges can be read again": "What failed before works again.",
    "limit ranges cannot be read": "A list or watch of LimitRanges failed; Pods are decided about all the same.",
    "limit ranges synced": "All LimitRanges have been read once.",
    "quotas can be read again": "What failed before works again.",
    "quotas cannot be read": "A list, watch, or live read of ResourceQuotas failed.",
    "quotas synced": "All ResourceQuotas have been read once; the replica is ready.",
    "refusal not confirmed, the request is let pass": "The live read before a refusal failed.",
    "review": "One review was answered.",
    "started": "`certs` is up.",
    "version cannot be read": "The API server did not say its version; the one named is taken for it.",
    "version read": "The API server has this version of Kubernetes, from now on.",
    "stopped": "The program ends.",
}
AUDIT: Final = {
    "changes": "the record: each change with its value before and after, rule, and reason; the policy's digest",
    "more-changes": "the same, where the webhook has changed the Pod before in the same request",
    "mode": "`warn` or `audit`, where nothing was changed or denied and the other keys say what would have been",
    "refusal": "in the modes `warn` and `audit`: the status and message of the denial",
    "outlook": "`fits-later` or `never-fits`, for a Pod that does not fit its quotas",
    "waits": "why a job that was admitted does not start yet",
    "notes": "what was left undone, and why",
    "exempted": "the rules that an exemption of the policy skips for the Pod, and its reason",
}


def text() -> str:
    """Return the page as the programs are now."""
    events = (f"| `{event}` | {meaning} |" for event, meaning in EVENTS.items())
    keys = (f"| `{key}` | {meaning} |" for key, meaning in AUDIT.items())
    return "\n".join(
        [
            HEAD,
            "## Commands and options\n",
            *commands(main, "flyte-admission"),
            "## Keys of the policy\n",
            "Keys in *italics* are sections with keys of their own. [The policy file](policy.md) explains them.\n",
            "| key | meaning |",
            "|---|---|",
            *keys_of_policy(json_schema()),
            "",
            "## Metrics\n",
            "Counters have the suffix `_total`, histograms `_bucket`, `_sum` and `_count`.\n",
            "| metric | type | meaning |",
            "|---|---|---|",
            *metrics(webhook_registry()),
            *metrics(CertsMetrics().registry),
            "",
            "## Log events\n",
            "Each line of the log is a JSON object with `time`, `level`, `event`, and the fields of the event.\n",
            "| event | meaning |",
            "|---|---|",
            *events,
            "",
            "## Audit annotations\n",
            "The API server puts the webhook's name before each key: `flyte1.flyte-admission.io/changes`.\n",
            "| key | meaning |",
            "|---|---|",
            *keys,
            "",
        ]
    )


def keys_of_policy(schema: Json, section: Json | None = None, path: str = "") -> Iterator[str]:
    """Yield a row for each key of the section, and of the sections in it."""
    for key, value in (section or schema)["properties"].items():
        meaning, inner = described(schema, value)
        name = f"{path}{key}"
        yield f"| {f'*`{name}`*' if inner else f'`{name}`'} | {meaning} |"
        if inner:
            yield from keys_of_policy(schema, inner, f"{name}.")


def described(schema: Json, value: Json) -> tuple[str, Json | None]:
    """Return the description of a key, and its section if it has one."""
    parts = [value, *value.get("anyOf", [])]
    parts += [part["items"] for part in parts if isinstance(part.get("items"), dict)]
    found = [schema["$defs"][part["$ref"].rpartition("/")[2]] for part in parts if "$ref" in part]
    inner = found[0] if found else None
    texts = (part["description"] for part in (*parts, *found) if "description" in part)
    return next(texts, "").replace("\n", " ").replace("|", "\\|"), inner


def webhook_registry() -> CollectorRegistry:
    """Return the metrics of the webhook, with those of the informer."""
    found = Metrics()
    found.observe_cache(lambda: 0.0, lambda: True, lambda: 0, lambda: 0)
    return found.registry


def metrics(registry: CollectorRegistry) -> Iterator[str]:
    """Yield a row for each metric."""
    for family in registry.collect():
        yield f"| `{family.name}` | {family.type} | {family.documentation} |"


def commands(command: click.Command, path: str) -> Iterator[str]:
    """Yield the options of the command, and of all below it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if found := command.get_command(context, name):
                yield from commands(found, f"{path} {name}")
        return
    yield f"### {path}\n"
    yield f"{command.get_short_help_str(limit=200)}\n"
    yield "| option | default | meaning |"
    yield "|---|---|---|"
    for param in command.params:
        if isinstance(param, click.Option):
            names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
            given = param.default if isinstance(param.default, list | tuple) else [param.default]
            default = f"`{', '.join(map(str, given))}`" if param.show_default else ""
            yield f"| {names} | {default} | {(param.help or '').replace('|', chr(92) + '|')} |"
    yield ""


def logged() -> set[str]:
    """Return the events in the source: the texts that are logged first."""
    found: set[str] = set()
    for file in (*(ROOT / "webhook").rglob("*.py"), *(ROOT / "certs").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and node.args and re.search(r"\blogs?\b", ast.unparse(node.func)):
                found |= set(texts(node.args[0]))
    return found


def texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts that the expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


if __name__ == "__main__":
    PAGE.write_text(text())
