"""What becomes of a Pod: the pure core, from a Request to a Decision, without HTTP, clock, or I/O."""

from collections.abc import Sequence

from msgspec.structs import replace

from webhook import patch, refusal
from webhook.admission_review import Request
from webhook.decision import Allowed, Change, Context, Decision, Denied, Told, Verdict, Written
from webhook.effective import computed_qos
from webhook.flyte import identify
from webhook.pod import Pod, with_resources
from webhook.policy import Policy
from webhook.rules import clamp, default, refused_claims, unclampable
from webhook.rules.quota import Asked, asked, check
from webhook.shape import ruled, standing
from webhook.snapshot import ResourceQuota
from webhook.trace import merged


def mutate(request: Request, policy: Policy, quotas: Sequence[ResourceQuota], today: str) -> Decision:
    """Fill, clamp, tolerate; refuse what would break a quota even so.

    `quotas` are those of the namespace; `today` is YYYY-MM-DD in UTC, for exemptions end.
    """
    pod, context = request.pod, _context(request, policy, today)
    if pod is None or context is None:
        return Allowed()
    decision = _resized(request, pod, quotas, context) if request.resize else _created(request, pod, quotas, context)
    return _in_its_mode(decision, request, quotas, context)


def _created(request: Request, pod: Pod, quotas: Sequence[ResourceQuota], context: Context) -> Allowed | Denied:
    if why := refused_claims(pod, context):
        return refusal.not_allowed(request.pod_name, refusal.creator(context.task), context.settings, why)
    made = ruled(pod, context)
    return _judged(request, context, check(pod, made.asks, quotas), made.changes, made.written)


def _resized(request: Request, pod: Pod, quotas: Sequence[ResourceQuota], context: Context) -> Allowed | Denied:
    pod, changes = (pod, []) if "clamp" in context.settings.skips else clamp(pod, context)
    if why := _unresizable(request, pod, context, changes):
        return _forbidden(request, why, context)
    return _judged(request, context, check(pod, _asked(pod), quotas, request.old), merged(changes))


def validate(request: Request, policy: Policy, quotas: Sequence[ResourceQuota], today: str) -> Decision:
    """Refuse what came in after /mutate: anything over a maximum, or over a quota."""
    pod, context = request.pod, _context(request, policy, today)
    if pod is None or context is None:
        return Allowed()
    if context.settings.mode != "enforce":  # then nothing was clamped before, that would have been
        pod = clamp(pod, context)[0] if request.resize else with_resources(pod, ruled(pod, context).blocks)
    return _in_its_mode(_validated(request, pod, quotas, context), request, quotas, context)


def _validated(request: Request, pod: Pod, quotas: Sequence[ResourceQuota], context: Context) -> Allowed | Denied:
    if request.resize:
        over, asks = (*merged(clamp(pod, context)[1]), *unclampable(pod, context)), _asked(pod)
    elif why := refused_claims(pod, context):
        return refusal.not_allowed(request.pod_name, refusal.creator(context.task), context.settings, why)
    else:
        stands = standing(pod, context)
        over, asks = stands.over, stands.asks
    if over and "clamp" not in context.settings.skips:
        return _forbidden(request, _over(over), context)
    return _judged(request, context, check(pod, asks, quotas, request.old))


def _context(request: Request, policy: Policy, today: str) -> Context | None:
    """None for what is not ours to decide: no request that we handle, or no Pod of Flyte's."""
    task = identify(request.pod, request.namespace, policy.identification) if request.pod else None
    return Context(task, policy.settings(task, request.namespace, today), request.old) if task else None


def _in_its_mode(
    decision: Allowed | Denied, request: Request, quotas: Sequence[ResourceQuota], context: Context
) -> Decision:
    """The decision, or only word of it where the mode is not to enforce; the Pod is then charged as it came."""
    if context.settings.mode == "enforce" or request.pod is None:
        return decision
    return Told(decision, check(request.pod, _asked(request.pod), quotas, request.old).charges)


def _unresizable(request: Request, clamped: Pod, context: Context, changes: Sequence[Change]) -> str:
    """Why a resize cannot be clamped to the maxima, if so: it may not change the QoS class, nor is all of it ours."""
    if "clamp" not in context.settings.skips and (over := unclampable(clamped, context)):
        return _over(over)
    if request.old is None or request.pod is None or not changes:
        return ""
    before, asked, after = map(computed_qos, (request.old, request.pod, clamped))
    if not before == asked != after:
        return ""
    return f"{_over(changes)}; at the maximum the QoS class would change from {before} to {after}, which no resize may"


def _over(changes: Sequence[Change]) -> str:
    """What is too much, by its place in the Pod."""
    places = (patch.unescape(change.path.removeprefix("/spec/")) for change in changes)
    found = ((where, change.before or "not set", change.why) for where, change in zip(places, changes, strict=True))
    return "; ".join(f"{where} is {before}, {why}" for where, before, why in found)


def _forbidden(request: Request, why: str, context: Context) -> Denied:
    """As the API server's own plugins refuse."""
    return Denied(403, "Forbidden", f'pods "{request.pod_name}" is forbidden: {why}', settings=context.settings)


def _judged(
    request: Request,
    context: Context,
    verdict: Verdict,
    changes: tuple[Change, ...] = (),
    written: Written | None = None,
) -> Allowed | Denied:
    """Allowed or Denied, by what the API server would charge for the Pod after the changes."""
    settings = context.settings
    if verdict.refuses and "quota" not in settings.skips:
        # No Flyte resizes Pods: whoever does is answered as the API server would.
        asked_by = "operator" if request.resize else refusal.creator(context.task)
        denied = refusal.refused(request.pod_name, asked_by, settings, verdict, grows=request.resize)
        return replace(denied, changes=changes, written=written)
    return Allowed(changes, verdict.charges, settings, written)


def _asked(pod: Pod) -> Asked:
    """What the Pod is charged for once the API server has filled in its own defaults."""
    return asked(default(pod)[0])
