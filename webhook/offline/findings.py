"""The kinds of findings of `doctor`: what each is called, how bad it is, what to do, and where to read on."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]
CONFIGURATIONS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A kind of finding: its id and severity, what to do, the page that says more, and what it takes to find it."""

    id: str
    severity: Severity
    do: str
    page: str
    needs: tuple[str, ...]  # kinds of objects, `metrics` of the API server, the `policy`


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    kind: FindingKind
    what: str


WEBHOOK_MISSING: Final = FindingKind(
    "webhook-missing", "error", "Apply the manifests or the chart again.", "docs/install.md#install", CONFIGURATIONS,
)  # fmt: skip
UNREACHABLE: Final = FindingKind(
    "webhook-unreachable", "error", "Look into its events and log, or apply the manifests or the chart again.",
    "docs/runbooks.md#flyteadmissiondown", (*CONFIGURATIONS, "Service", "Deployment"),
)  # fmt: skip
FAILING_OPEN: Final = FindingKind(
    "webhook-failing-open", "warning", "Look into the log of the API server for the reason; scan finds the Pods.",
    "docs/runbooks.md#flyteadmissionbypassed", ("metrics",),
)  # fmt: skip
UNTRUSTED: Final = FindingKind(
    "ca-bundle-untrusted", "error", "Restart certs or cert-manager, whichever you use, and look into its log.",
    "docs/runbooks.md#flyteadmissioncertsuntrusted", (*CONFIGURATIONS, "Secret"),
)  # fmt: skip
SELECTOR_MISSES: Final = FindingKind(
    "selector-misses", "warning", "Restore the rules and selectors of the manifests.",
    "docs/flyte.md#whose-pod-it-is", CONFIGURATIONS,
)  # fmt: skip
SELECTOR_TWICE: Final = FindingKind(
    "selector-twice", "warning", "Restore the selectors of the manifests.",
    "docs/flyte.md#whose-pod-it-is", CONFIGURATIONS,
)  # fmt: skip
SELECTOR_OF_AKS: Final = FindingKind(
    "selector-of-aks", "warning", 'Annotate both configurations with admissions.enforcer/disabled: "true".',
    "docs/platforms.md#aks", CONFIGURATIONS,
)  # fmt: skip
MATCH_CONDITIONS: Final = FindingKind(
    "match-conditions", "warning", "Exempt Pods by a namespaceSelector or in the policy instead.",
    "docs/questions.md#how-do-i-exempt-a-namespace", CONFIGURATIONS,
)  # fmt: skip
FLYTE_TOO_OLD: Final = FindingKind(
    "flyte-too-old", "error", "Upgrade it.", "docs/flyte.md#whose-pod-it-is", ("Deployment",)
)
PODS_MISSED: Final = FindingKind(
    "pods-missed", "error", "Upgrade what creates them, or correct the selectors.",
    "docs/flyte.md#whose-pod-it-is", ("Pod", "Namespace", CONFIGURATIONS[0]),
)  # fmt: skip
QUOTA_COUNTS_NOTHING: Final = FindingKind(
    "quota-counts-nothing", "warning", "Write the name that counts.",
    "docs/semantics.md#what-a-pod-costs", ("ResourceQuota",),
)  # fmt: skip
QUOTA_BELOW_DEFAULT: Final = FindingKind(
    "quota-below-default", "error", "Raise the quota, or lower the default.",
    "docs/semantics.md#when-it-is-refused", ("ResourceQuota", "LimitRange", "policy"),
)  # fmt: skip
RANGE_CONTRADICTS: Final = FindingKind(
    "limit-range-contradicts", "warning", "Change the LimitRange, or the policy.",
    "docs/semantics.md#limitranges", ("LimitRange", "policy"),
)  # fmt: skip
TAINT_UNTOLERATED: Final = FindingKind(
    "taint-untolerated", "warning", "Name the taint in plugins.k8s.resource-tolerations.",
    "docs/policy.md#what-happens-to-a-pod", ("Node", "policy"),
)  # fmt: skip
NAMESPACES_DIFFER: Final = FindingKind(
    "flyte-namespaces-differ", "error", "Give the policy the namespace_mapping and the domains of Flyte.",
    "docs/flyte.md#whose-pod-it-is", ("ConfigMap", "policy"),
)  # fmt: skip
GPU_NAME_UNKNOWN: Final = FindingKind(
    "flyte-gpu-name-unknown", "warning", "Copy gpu-resource-name into plugins.k8s of the policy.",
    "docs/flyte.md#where-it-goes-further-and-why", ("ConfigMap", "policy"),
)  # fmt: skip
BACKOFF_OFF: Final = FindingKind(
    "flyte-backoff-off", "error", "Set tasks.backoff.base-second of propeller to 2, its default.",
    "docs/flyte.md#what-flyte-makes-of-a-refusal", ("ConfigMap",),
)  # fmt: skip
IMPATIENT: Final = FindingKind(
    "retry-after-too-long", "warning", "Lower verdicts.retry_after_seconds, or raise actions.kubernetes.timeout.",
    "docs/flyte.md#what-flyte-makes-of-a-refusal", ("ConfigMap", "policy"),
)  # fmt: skip

FINDING_KINDS: Final = tuple(it for it in vars().copy().values() if isinstance(it, FindingKind))
