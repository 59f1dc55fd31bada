"""Refuse Pods that claim devices, where the policy says so: nothing here bounds what a ResourceClaim asks for."""

from webhook.decision import Context
from webhook.pod import Pod


def refused_claims(pod: Pod, context: Context) -> str:
    """Why the Pod is refused for its claims; empty where it is not.

    Those of a container need none of their own: the API server takes a name in `spec.resourceClaims` alone.
    """
    origin = context.settings.claims_refused_by
    if not (origin and pod.spec.resource_claims):
        return ""
    return (
        f"spec.resourceClaims is not allowed, the policy says resource_claims: refuse ({origin.rpartition('/')[2]}); "
        "ask for devices in resources.limits instead"
    )
