"""Renders the effective policy for some tasks as YAML, with the source line of each value as a comment."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import yaml

from webhook.api.quantity import Quantity
from webhook.api.resource_list import HUGEPAGES, NATIVE
from webhook.policy.compile import BUILT_IN_GPUS
from webhook.policy.model import GPU, Amount, Amounts, DefaultAmount, DefaultAmounts, Layer, Policy, TaskScope
from webhook.policy.settings import Ratio
from webhook.policy.spelling import closest

BUILT_IN = "built in"


def render(policy: Policy, scope: TaskScope, today: str) -> str:
    """Return the effective values for tasks of that scope on that day, YYYY-MM-DD; for all tasks, the overrides too."""
    layer = policy.effective(policy.matching(scope, today=today))
    mode, origin = layer.mode or ("enforce", BUILT_IN)
    lines = [
        _comment(f"For {scope}."),
        *map(_comment, unknown(policy, scope)),
        _line("mode", mode, origin),
        "task_resources:",
        *_amounts("defaults", layer.defaults, "  "),
        *_amounts("limits", _once(layer.limits, policy), "  "),
        *_secondary(layer.secondary_defaults),
        *_amounts("pod_limits", _once(layer.pod_limits, policy)),
        *_over_limit(layer),
        *_max_replicas(layer),
        *_every_gpu(policy, layer),
        *_cpu_limits(layer),
        _line("resource_claims", *(layer.claims or ("allow", BUILT_IN))),
        *_unbounded(policy, layer),
        *_tolerations(policy),
        *_verdicts(policy),
        _line("warnings", _json(policy.warnings), _origin(policy, "warnings")),
        *_identification(policy),
        *_of_operators(policy, scope, today),
        *_exemptions(policy, scope, today),
        *(() if any(scope) else _table(policy, today)),
    ]
    return "\n".join(lines)


def as_data(policy: Policy, scope: TaskScope, today: str) -> dict[str, Any]:
    """Return the same for programs: the values, what is unknown, and all overrides."""
    return {
        "for": {name: value for name, value in scope._asdict().items() if value},
        "unknown": list(unknown(policy, scope)),
        "policy": yaml.safe_load(render(policy, scope, today)),
        "overrides": [
            {
                "for": {name: value for name, value in key.scope._asdict().items() if value}
                | ({"made_by": "operator"} if key.of_operators else {}),
                "states": dict(_stated(layer, policy)),
                "until": key.until or None,
                "ended": bool(key.until) and today > key.until,
                "reason": layer.reason or None,
                "at": layer.origin,
            }
            for key, layer in policy.overrides.items()
        ],
    }


def unknown(policy: Policy, scope: TaskScope) -> Iterator[str]:
    """Yield which names of the scope the policy does not know, with what is probably meant."""
    stated = [(key.scope.domain, key.scope.project) for key in policy.overrides]
    stated += [(it.domain, it.project) for it in policy.exemptions]
    domains = {*policy.identification.namespaces.domains, *(domain for domain, _ in stated)}
    projects = {project for _, project in stated if project}
    if scope.domain and scope.domain not in domains:
        yield f"the domain {scope.domain} is not known to the file{_meant(scope.domain, domains)}"
    if scope.project and scope.project not in projects:
        yield f"no override and no exemption names the project {scope.project}{_meant(scope.project, projects)}"


def _meant(name: str, known: Collection[str]) -> str:
    near = closest(name, known)
    return f"; did you mean {near}?" if near else ""


def _table(policy: Policy, today: str) -> Iterator[str]:
    """Yield all overrides as a table."""
    rows = [("OVERRIDES FOR", "STATE", "UNTIL", "REASON", "AT")]
    for key, layer in policy.overrides.items():
        states = "; ".join(f"{name} {value}" for name, value in _stated(layer, policy).items())
        until = f"{key.until} (ended)" if key.until and today > key.until else key.until or "-"
        rows.append((str(key), states, until, _on_one_line(layer.reason) or "-", layer.origin))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows if policy.overrides else ():
        yield f"# {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()}"


def _stated(layer: Layer, policy: Policy) -> dict[str, str]:
    """Return what an override states, by its key."""
    parts: dict[str, Mapping[str, Any]] = {
        "defaults": layer.defaults,
        "secondary_defaults": layer.secondary_defaults or {},
        "limits": _once(layer.limits, policy),
        "pod_limits": _once(layer.pod_limits, policy),
    }
    found = {
        key: ", ".join(f"{name}={_amount(amount)}" for name, amount in amounts.items())
        for key, amounts in parts.items()
        if amounts
    }
    if layer.over_limit:
        found["over_limit"] = ", ".join(f"{name}={how}" for name, (how, _) in layer.over_limit.items())
    if layer.max_replicas:
        found["max_replicas"] = ", ".join(f"{kind}={most}" for kind, (most, _) in layer.max_replicas.items())
    for key, value in (("cpu_limits", layer.cpu_limits), ("resource_claims", layer.claims), ("mode", layer.mode)):
        if value:
            found[key] = str(value[0])
    return found


def _over_limit(layer: Layer) -> Iterator[str]:
    yield "over_limit:" if layer.over_limit else "over_limit: {}"
    for name, (how, origin) in sorted(layer.over_limit.items()):
        yield _line(_json(name) if "*" in name else name, how, origin, "  ")


def _max_replicas(layer: Layer) -> Iterator[str]:
    yield "max_replicas:" if layer.max_replicas else "max_replicas: {}"
    for kind, (most, origin) in sorted(layer.max_replicas.items()):
        yield _line(kind, str(most), origin, "  ")


def _cpu_limits(layer: Layer) -> Iterator[str]:
    how, origin = layer.cpu_limits or ("keep", BUILT_IN)
    yield _line("cpu_limits", f"{{ratio: {how}}}" if isinstance(how, Ratio) else how, origin)
    keeps, origin = layer.keeps_exclusive_cpus or (False, BUILT_IN)
    yield _line("keep_exclusive_cpus", _json(keeps), origin)


def _every_gpu(policy: Policy, layer: Layer) -> Iterator[str]:
    """Yield the resources that a maximum for `gpu` applies to."""
    if GPU in layer.limits or GPU in layer.pod_limits:
        names = [*sorted(policy.devices.names), *(f"{prefix}*" for prefix in policy.devices.prefixes)]
        yield _comment(f"gpu holds for each of {', '.join(names)}")


def _unbounded(policy: Policy, layer: Layer) -> Iterator[str]:
    """Yield the resources that have no maximum."""
    bounded = {name for name, amount in (*layer.limits.items(), *layer.pod_limits.items()) if amount.value}
    sizes = sorted(name for name in bounded if name.startswith(HUGEPAGES))
    found = [name for name in sorted(NATIVE) if name not in bounded]
    if f"{HUGEPAGES}*" not in bounded:
        found.append(f"other {HUGEPAGES}*" if sizes else f"{HUGEPAGES}*")
    if GPU not in bounded:
        found.append("other GPUs" if any(map(policy.devices.has, bounded)) else "gpu")
    found.append("devices that limits and pod_limits do not name")
    if not layer.claims or layer.claims[0] == "allow":
        found.append("spec.resourceClaims")
    yield _comment(f"no maximum: {', '.join(found)}")


def _line(key: str, value: str, origin: str, indent: str = "") -> str:
    return f"{indent}{key}: {value}  # {origin}"


def _comment(text: str) -> str:
    """Return the comment on one line, without the line breaks that a reason may have."""
    return f"# {_on_one_line(text)}"


def _on_one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _json(value: Any) -> str:
    """Return the value as JSON on one line, which is valid YAML."""
    return msgspec.json.encode(value).decode().replace(",", ", ")


def _amounts(key: str, amounts: Amounts | DefaultAmounts, indent: str = "") -> Iterator[str]:
    yield f"{indent}{key}:" if amounts else f"{indent}{key}: {{}}"
    for name in sorted(amounts):
        amount = amounts[name]
        yield _line(_json(name) if "*" in name else name, _amount(amount), amount.origin, f"{indent}  ")


def _once(maxima: Amounts, policy: Policy) -> Amounts:
    """Return the maxima without that of the GPU by name where it is the one of `gpu`."""
    name = policy.devices.name
    return {key: amount for key, amount in maxima.items() if key != name or amount != maxima.get(GPU)}


def _amount(amount: Amount | DefaultAmount) -> str:
    if isinstance(amount, Amount):
        return _text(amount.value)
    if amount.request == amount.limit:
        return _text(amount.request)
    return f"{{request: {_text(amount.request)}, limit: {_text(amount.limit)}}}"


def _text(value: Quantity) -> str:
    return str(value) if value else "0"


def _secondary(own: DefaultAmounts | None) -> Iterator[str]:
    if own is None:
        yield "# secondary_defaults: not given; the same as defaults, but for devices"
    else:
        yield from _amounts("secondary_defaults", own)


def _tolerations(policy: Policy) -> Iterator[str]:
    configured, section = policy.tolerations, "plugins.k8s"
    yield "plugins:"
    yield "  k8s:"
    yield _line("gpu-resource-name", policy.devices.name, _origin(policy, f"{section}.gpu-resource-name"), "    ")
    classes = {
        name: {"resource-name": name} for name in sorted(policy.devices.names - BUILT_IN_GPUS - {policy.devices.name})
    }
    key = "accelerator-device-classes"
    yield _line(key, _json(classes), _origin(policy, f"{section}.{key}"), "    ")
    yield "    resource-tolerations:" if configured.by_resource else "    resource-tolerations: {}"
    for name, tolerations in sorted(configured.by_resource.items()):
        origin = _origin(policy, f"{section}.resource-tolerations.{name}")
        yield _line(_json(name) if "*" in name else name, _json(tolerations), origin, "      ")
    for key, listed in (
        ("default-tolerations", configured.always),
        ("interruptible-tolerations", configured.interruptible),
    ):
        yield _line(key, _json(listed), _origin(policy, f"{section}.{key}"), "    ")
    if configured.extended:
        key = "add-tolerations-for-extended-resources"
        yield _line(key, _json(sorted(configured.extended)), _origin(policy, f"{section}.{key}"), "    ")
    key = "tolerate_by_own_name"
    yield _line(key, _json(configured.extended is None), _origin(policy, key))


def _origin(policy: Policy, key: str) -> str:
    return policy.origins.get(key, BUILT_IN)


def _identification(policy: Policy) -> Iterator[str]:
    mapping, labels = policy.identification.namespaces, policy.identification.labels
    yield "namespace_mapping:"
    origin = _origin(policy, "namespace_mapping.template")
    yield _line("template", _json(mapping.template), origin, "  ")
    domains = [{"id": domain} for domain in mapping.domains]
    yield _line("domains", _json(domains), _origin(policy, "domains"))
    yield _line("project_domain_labels", labels, _origin(policy, "project_domain_labels"))
    strategy = "replace-all-resources" if policy.replaces else "merge-per-resource"
    yield _line("override_strategy", strategy, _origin(policy, "override_strategy"))


def _verdicts(policy: Policy) -> Iterator[str]:
    yield "verdicts:"
    table: Mapping[str, Mapping[Any, Any]] = {
        "fits_later": policy.denial_codes.fits_later,
        "never_fits": policy.denial_codes.never_fits,
    }
    for outlook, codes in table.items():
        yield f"  {outlook}:"
        for creator, code in codes.items():
            origin = _origin(policy, f"verdicts.{outlook}.{creator}")
            yield _line(creator, str(code), origin, "    ")
    origin = _origin(policy, "verdicts.retry_after_seconds")
    yield _line("retry_after_seconds", str(policy.denial_codes.retry_after_seconds), origin, "  ")


def _of_operators(policy: Policy, scope: TaskScope, today: str) -> Iterator[str]:
    """Yield what holds for the Pods of operators instead."""
    for key in policy.matching(scope, today=today, operated=True):
        if key.of_operators:
            layer = policy.overrides[key]
            states = "; ".join(f"{name} {value}" for name, value in _stated(layer, policy).items())
            yield _comment(f"for Pods of operators: {states} ({layer.origin})")


def _exemptions(policy: Policy, scope: TaskScope, today: str) -> Iterator[str]:
    """Yield the exemptions that apply to the tasks in any namespace."""
    for exemption in policy.exemptions:
        if exemption.applies_to(scope, exemption.namespace, today, operated=True):
            where = f" in namespace {exemption.namespace}" if exemption.namespace else ""
            where += " for the Pods of operators" if exemption.of_operators else ""
            skipped = ", ".join(exemption.skips)
            yield _comment(f"exempted{where} from {skipped} until {exemption.until}: {exemption.reason}")
