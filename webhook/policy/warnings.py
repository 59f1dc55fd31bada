"""Warnings about statements in a policy file that are valid but probably a mistake."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from webhook.api.quantity import NANO, Quantity, from_json
from webhook.flyte.task import MAX_LABEL_LENGTH, map_elements_label
from webhook.policy.compile import STORAGE, PolicyBlock, is_too_small, kubernetes_name
from webhook.policy.model import GPU, Policy
from webhook.policy.settings import DEFAULT_DENIAL_CODES, Answer, ByResource, Creator, DenialCodes, Maxima, Settings
from webhook.policy.spelling import SPELLINGS, closest
from webhook.policy.values import Default, can_be_used
from webhook.policy.yaml_text import Document, Path, Problem

# Hardly a machine has more cores, and no program runs in fewer bytes.
MOST_CORES: Final = 256
LEAST_BYTES: Final = 2**20
# What Flyte makes of codes that do not suit the outlook; docs/flyte.md says more.
FAILS_AT_ONCE: Final = "fails the task at once, although it would fit later"
BLOCKS_A_WORKER: Final = "blocks a worker of propeller for up to 30 seconds a try"
RETRIES: Final = "uses up the task's retries at once"
UNSUITABLE: Final[Mapping[tuple[str, Creator, Answer], str]] = {
    ("fits_later", "flyte1", 413): FAILS_AT_ONCE,
    ("fits_later", "flyte1", 422): FAILS_AT_ONCE,
    ("fits_later", "flyte1", 429): BLOCKS_A_WORKER,
    ("fits_later", "flyte2", 403): RETRIES,
    ("fits_later", "flyte2", 413): FAILS_AT_ONCE,
    ("fits_later", "flyte2", 422): FAILS_AT_ONCE,
    ("fits_later", "job", 403): RETRIES,
    ("fits_later", "job", 413): FAILS_AT_ONCE,
    ("fits_later", "job", 422): FAILS_AT_ONCE,
    ("fits_later", "job", 429): "fails the task after some system retries, as neither Flyte waits with a job",
    ("never_fits", "job", 403): RETRIES,
    ("never_fits", "job", 429): "fails the task only after some system retries",
    ("never_fits", "flyte1", 403): "lets the task wait forever, unless cpu or memory is what is short",
    ("never_fits", "flyte1", 422): "makes Flyte before 1.16.7 loop",
    ("never_fits", "flyte1", 429): BLOCKS_A_WORKER,
    ("never_fits", "flyte2", 403): RETRIES,
    ("never_fits", "flyte2", 429): "lets the task ask for minutes for what it never gets",
}


AFTER_ALL: Final = "9999-99-99"  # a day on which no override that ends counts
RESOURCE_TOLERATIONS: Final = ("plugins", "k8s", "resource-tolerations")
NEARLY_A_GPU: Final = 0.95  # of difflib's ratio: nvidia.com/gpus and nvidia.com/gpu


def find_warnings(blocks: Sequence[PolicyBlock], policy: Policy) -> Iterator[Problem]:
    """Yield all warnings; the first block must be the platform's."""
    for block in blocks:
        key = block.key
        matching = policy.matching(key.scope, today=key.until or AFTER_ALL, operated=key.of_operators)
        settings = policy.settings_of(matching)
        yield from _defaults_over_limits(block, policy, settings)
        yield from _limits_under_defaults(block, policy, settings)
        yield from _without_default(block, policy, settings)
        yield from _nothing_to_refuse(block, policy, settings)
        yield from _cannot_run(block, policy)
        yield from _misspelled(block)
    yield from _unknown_resources(blocks, policy)
    yield from _unknown_domains(blocks[1:], policy)
    yield from _cut_labels(blocks[1:])
    yield from _unsuitable_codes(blocks[0].document, policy.denial_codes)


def _defaults_over_limits(block: PolicyBlock, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """Warn of defaults over a maximum; Flyte clamps them too."""
    for key, defaults in block.defaults():
        for name, default in defaults.items():
            most = settings.pod_maximum(kubernetes_name(name, policy.devices))
            if default and most and default.limit > most:
                path = (*block.paths[key], name)
                stated = _written(block.document.get(path), default.limit)
                what = f"warning: {stated} is over the limit {most}, which is what tasks get"
                yield block.document.problem(path, what)


def _limits_under_defaults(block: PolicyBlock, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """Warn of maxima under the default of a less specific block."""
    own = {kubernetes_name(name, policy.devices) for name in block.content.defaults or ()}
    for path, _, maxima in _maxima(block, policy, settings):
        for name in sorted(_covered(str(path[-1]), policy, settings)):
            default, most = settings.defaults.limits.get(name), maxima.get(name)
            if name not in own and default and most and default > most:
                what = f"warning: the default {default} is over this limit {most}, which is what tasks get"
                yield block.document.problem(path, what)


def _cannot_run(block: PolicyBlock, policy: Policy) -> Iterator[Problem]:
    """Warn of amounts that parse, and with which nothing runs: a suffix is missing, or the wrong one."""
    defaults = [(key, name, {*value}) for key, of in block.defaults() for name, value in of.items() if value]
    maxima = [(key, name, {value}) for key, of in block.maxima() for name, value in of.items() if value]
    for key, name, amounts in (*defaults, *maxima):
        for amount in sorted(amounts):
            if what := _meaning(kubernetes_name(name, policy.devices), amount):
                path = (*block.paths[key], name)
                yield block.document.problem(path, f"warning: {_written(block.document.get(path), amount)} is {what}")


def _written(stated: object, amount: Quantity) -> str:
    """Return the amount as it is stated: alone, or as a request or limit."""
    texts = stated.values() if isinstance(stated, dict) else [stated]
    return next((str(text).strip() for text in texts if from_json(text) == amount), str(amount))


def _meaning(name: str, amount: Quantity) -> str:
    """Return what the amount means, if that is not what anybody wants."""
    number = f"{amount.nano // NANO}.{amount.nano % NANO:09d}".rstrip("0").rstrip(".")
    if name == "cpu" and amount.nano > MOST_CORES * NANO:
        return f"{number} cores; write {number}m for thousandths of a core"
    if amount and name in ("memory", "ephemeral-storage") and (amount.nano < LEAST_BYTES * NANO or amount.nano % NANO):
        return f"{number} bytes; write an amount with a suffix such as Mi or Gi"
    return ""


def _without_default(block: PolicyBlock, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """Warn of maxima without a default: the maximum becomes the default, as in a LimitRange."""
    containers = {"a container": settings.defaults, "a secondary container": settings.secondary_defaults}
    for path, name, maxima in _maxima(block, policy, settings):
        most = maxima.get(name)
        bounded = {who: it.bounds.get(name) for who, it in containers.items() if name in it.completes}
        for who in [who for who, bound in bounded.items() if most and bound == most][:1]:
            what = f"warning: no default; {who} that states none gets all of {most}, as request and limit"
            yield block.document.problem(path, what, at_key=True)


def _nothing_to_refuse(block: PolicyBlock, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """Warn of `over_limit: refuse` for what has no maximum."""
    for key, how in (block.content.over_limit or {}).items():
        if how == "refuse" and all(settings.pod_maximum(name) is None for name in _covered(key, policy, settings)):
            what = "no maximum; only what is over the max of a LimitRange is refused; give one in limits or pod_limits"
            yield block.document.problem((*block.paths["over_limit"], key), f"warning: {what}", at_key=True)


def _covered(key: str, policy: Policy, settings: Settings) -> list[str]:
    """Return the names, and beginnings of names, that the key stands for, of all that the policy knows."""
    devices = policy.devices
    if key != GPU and not key.endswith("*"):
        return [kubernetes_name(key, devices)]
    known = {name for maxima in (settings.limits, settings.pod_limits) for name, _ in maxima.items()}
    known |= {*settings.defaults.limits, *devices.names, *devices.prefixes}
    stated = devices.by_resource(ByResource, {key: True})
    return [each for each in {*known, key} - {GPU} if stated.find(each)]


def _maxima(block: PolicyBlock, policy: Policy, settings: Settings) -> Iterator[tuple[Path, str, Maxima]]:
    """Yield the path and resource of each maximum in the block, with all maxima of that section."""
    effective = {"limits": settings.limits, "pod_limits": settings.pod_limits}
    for section, amounts in block.maxima():
        for key in amounts:
            yield (*block.paths[section], key), kubernetes_name(key, policy.devices), effective[section]


def _misspelled(block: PolicyBlock) -> Iterator[Problem]:
    """Warn of `storage`: here it means ephemeral storage, flyteadmin ignores it silently (flyteorg/flyte#4965)."""
    for key, names in block.names():
        if STORAGE in names:
            stated = getattr(block.content, key)[STORAGE]
            amount = stated.limit if isinstance(stated, Default) else stated
            what = "read as ephemeralStorage, while Flyte ignores this key; write ephemeralStorage"
            if isinstance(amount, Quantity) and is_too_small(STORAGE, amount):
                what = f"{amount} would evict every task, and is not applied; if you mean it, write ephemeralStorage"
            yield block.document.problem((*block.paths[key], STORAGE), f"warning: {what}", at_key=True)


def _unknown_resources(blocks: Sequence[PolicyBlock], policy: Policy) -> Iterator[Problem]:
    """Warn of names that no Pod can have, and of those that are nearly the name of a GPU."""
    document = blocks[0].document
    for path in document.keys:
        name = str(path[-1])
        below = [step for step in path[3:] if isinstance(step, str)]  # without the index in a list of maps
        if path[:3] == RESOURCE_TOLERATIONS and below == [name] and (why := _near_gpu(name, policy) or _unusable(name)):
            yield document.problem(path, f"warning: {why}", at_key=True)
    for block in blocks:
        for key, names in block.names():
            for name in names:
                if near := _near_gpu(name, policy):
                    yield block.document.problem((*block.paths[key], name), f"warning: {near}", at_key=True)


def _unusable(name: str) -> str:
    near = closest(name, (*SPELLINGS, "nvidia.com/gpu"))
    meant = f"; did you mean {near}?" if near else ""
    return "" if can_be_used(name) else f"no Pod can use a resource of this name{meant}"


def _near_gpu(name: str, policy: Policy) -> str:
    gpus = policy.devices.names
    near = "" if policy.devices.has(name) or "/" not in name else closest(name, gpus, NEARLY_A_GPU)
    return f"no device plugin is known for this name; did you mean {near}?" if near else ""


def _unknown_domains(overrides: Iterable[PolicyBlock], policy: Policy) -> Iterator[Problem]:
    """Warn of domains that are not listed: no namespace can match them."""
    known = policy.identification.namespaces.domains
    for block in overrides:
        domain = block.content.domain
        if domain and domain not in known:
            what = f"warning: no namespace is read as this domain; add it to domains, which are {', '.join(known)}"
            yield block.document.problem((*block.paths[""], "domain"), what)


def _cut_labels(overrides: Iterable[PolicyBlock]) -> Iterator[Problem]:
    """Warn of names so long that the label, which is cut, does not tell the task from others."""
    for block in overrides:
        for key, name in (("workflow", block.content.workflow), ("task", block.content.task)):
            if name and len(name) > MAX_LABEL_LENGTH:
                what = (
                    f"warning: applies to each {key} whose name begins like this, as the label is cut after "
                    f"{MAX_LABEL_LENGTH} characters; give the project and domain too, or shorten the name"
                )
                yield block.document.problem((*block.paths[""], key), what)
        task = block.content.task
        if task and not map_elements_label(task):
            what = (
                "warning: does not apply to map tasks of it, as their label is cut before it tells which task they are "
                "of; shorten the name, or write workflow"
            )
            yield block.document.problem((*block.paths[""], "task"), what)


def _unsuitable_codes(document: Document, codes: DenialCodes) -> Iterator[Problem]:
    """Warn of codes that Flyte acts on in another way than the outlook means, and of pauses beyond its patience."""
    defaults = DEFAULT_DENIAL_CODES
    stated = {
        "fits_later": (codes.fits_later, defaults.fits_later),
        "never_fits": (codes.never_fits, defaults.never_fits),
    }
    for outlook, (chosen, better) in stated.items():
        for creator, code in chosen.items():
            if effect := UNSUITABLE.get((outlook, creator, code)):
                what = f"warning: {code} {effect}; write {better[creator]}"
                yield document.problem(("verdicts", outlook, creator), what)
    seconds, longest = codes.retry_after_seconds, defaults.retry_after_seconds
    if seconds > longest and 429 in (codes.fits_later["flyte2"], codes.never_fits["flyte2"]):
        what = (
            f"warning: ten pauses of {seconds} s do not fit into Flyte 2's timeout of 30 s, so its users see "
            f'"context deadline exceeded" instead of the reason; write {longest}, or raise actions.kubernetes.timeout'
        )
        yield document.problem(("verdicts", "retry_after_seconds"), what)
