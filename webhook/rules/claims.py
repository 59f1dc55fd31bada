"""Denies Pods with resource claims where the policy says so: no maximum bounds what a ResourceClaim requests."""

from webhook.rules.workload import Workload


def deny_claims(workload: Workload) -> str:
    """Return why the Pod is denied for its claims; empty where it is allowed.

    Claims of containers need no check: the API server accepts only those named in `spec.resourceClaims`.
    """
    origin = workload.settings.claims_refused_by
    if not (origin and workload.has_claims):
        return ""
    return (
        f"spec.resourceClaims is not allowed, the policy says resource_claims: refuse ({origin.rpartition('/')[2]}); "
        "ask for devices in resources.limits instead"
    )
