"""The kinds of findings of `doctor`: what each is called, how bad it is, what to do, and where to read on."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: its id and severity, what to do, and the page that says more."""

    id: str
    severity: Severity
    do: str
    page: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    kind: Kind
    what: str


WEBHOOK_MISSING: Final = Kind(
    "webhook-missing", "error", "Apply the manifests or the chart again.", "docs/install.md#install"
)
FAILING_OPEN: Final = Kind(
    "webhook-failing-open", "warning", "Look into the log of the API server for the reason; scan finds the Pods.",
    "docs/runbooks.md#flyteadmissionbypassed",
)  # fmt: skip
UNTRUSTED: Final = Kind(
    "ca-bundle-untrusted", "error", "Restart certs or cert-manager, whichever you use, and look into its log.",
    "docs/runbooks.md#flyteadmissioncertsuntrusted",
)  # fmt: skip
SELECTOR_MISSES: Final = Kind(
    "selector-misses", "warning", "Restore the selectors of the manifests.", "docs/flyte.md#whose-pod-it-is"
)
SELECTOR_TWICE: Final = Kind(
    "selector-twice", "warning", "Restore the selectors of the manifests.", "docs/flyte.md#whose-pod-it-is"
)
SELECTOR_OF_AKS: Final = Kind(
    "selector-of-aks", "warning", 'Annotate both configurations with admissions.enforcer/disabled: "true".',
    "docs/platforms.md#aks",
)  # fmt: skip
FLYTE_TOO_OLD: Final = Kind("flyte-too-old", "error", "Upgrade it.", "docs/flyte.md#whose-pod-it-is")
PODS_MISSED: Final = Kind(
    "pods-missed", "error", "Upgrade what creates them, or correct the selectors.", "docs/flyte.md#whose-pod-it-is"
)
QUOTA_COUNTS_NOTHING: Final = Kind(
    "quota-counts-nothing", "warning", "Write the name that counts.", "docs/semantics.md#what-a-pod-costs"
)
QUOTA_BELOW_DEFAULT: Final = Kind(
    "quota-below-default", "error", "Raise the quota, or lower the default.", "docs/semantics.md#when-it-is-refused"
)
RANGE_CONTRADICTS: Final = Kind(
    "limit-range-contradicts", "warning", "Change the LimitRange, or the policy.", "docs/semantics.md#limitranges"
)
TAINT_UNTOLERATED: Final = Kind(
    "taint-untolerated", "warning", "Name the taint in plugins.k8s.resource-tolerations.",
    "docs/policy.md#what-happens-to-a-pod",
)  # fmt: skip
NAMESPACES_DIFFER: Final = Kind(
    "flyte-namespaces-differ", "error", "Copy namespace_mapping into the policy.", "docs/flyte.md#whose-pod-it-is"
)
GPU_NAME_UNKNOWN: Final = Kind(
    "flyte-gpu-name-unknown", "warning", "Copy gpu-resource-name into plugins.k8s of the policy.",
    "docs/flyte.md#where-it-goes-further-and-why",
)  # fmt: skip
BACKOFF_OFF: Final = Kind(
    "flyte-backoff-off", "error", "Set tasks.backoff.base-second of propeller to 2, its default.",
    "docs/flyte.md#what-flyte-makes-of-a-refusal",
)  # fmt: skip
IMPATIENT: Final = Kind(
    "retry-after-too-long", "warning", "Lower verdicts.retry_after_seconds, or raise actions.kubernetes.timeout.",
    "docs/flyte.md#what-flyte-makes-of-a-refusal",
)  # fmt: skip

KINDS: Final = tuple(it for it in vars().copy().values() if isinstance(it, Kind))
