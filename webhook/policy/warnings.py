"""What a policy file says that is allowed and hardly meant: warnings with their place."""

from collections.abc import Iterable, Iterator, Sequence

from webhook.policy.compile import DEFAULTS, MAXIMA, Block, kubernetes_name
from webhook.policy.model import Policy
from webhook.policy.settings import Maxima, Settings
from webhook.policy.yaml_text import Path, Problem


def oddities(blocks: Sequence[Block], policy: Policy) -> Iterator[Problem]:
    """All of them; the first block is the platform's."""
    for block in blocks:
        settings = policy.settings_of(policy.matching(block.scope))
        yield from _defaults_over_limits(block, policy, settings)
        yield from _limits_under_defaults(block, policy, settings)
        yield from _without_default(block, policy, settings)
        yield from _misspelled(block)
    yield from _unknown_domains(blocks[1:], policy)


def _defaults_over_limits(block: Block, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """Flyte clamps them, and so do we."""
    for key, amounts in block.amounts():
        for name, amount in amounts.items() if key in DEFAULTS else ():
            most = settings.most_of_pod(kubernetes_name(name, policy.devices))
            if amount and most and amount > most:
                what = f"warning: {amount} is over the limit {most}, which is what tasks get"
                yield block.document.problem((*block.paths[key], name), what)


def _limits_under_defaults(block: Block, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """The same where the default is of a less specific block."""
    own = {kubernetes_name(name, policy.devices) for name in block.content.defaults or ()}
    for path, name, maxima in _maxima(block, policy, settings):
        default, most = settings.defaults.amounts.get(name), maxima.get(name)
        if name not in own and default and most and default > most:
            what = f"warning: the default {default} is over this limit {most}, which is what tasks get"
            yield block.document.problem(path, what)


def _without_default(block: Block, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """A maximum without a default becomes one, as in a LimitRange; few will want that."""
    containers = {"a container": settings.defaults, "a secondary container": settings.secondary_defaults}
    for path, name, maxima in _maxima(block, policy, settings):
        most = maxima.get(name)
        for who in [who for who, defaults in containers.items() if most and defaults.bounds.get(name) == most][:1]:
            what = f"warning: no default; {who} that states none gets all of {most}, as request and limit"
            yield block.document.problem(path, what, at_key=True)


def _maxima(block: Block, policy: Policy, settings: Settings) -> Iterator[tuple[Path, str, Maxima]]:
    """What the block states as maxima: where, of which resource, and all those that hold beside it."""
    effective = {"limits": settings.limits, "pod_limits": settings.pod_limits}
    for section, amounts in block.amounts():
        for key in amounts if section in MAXIMA else ():
            yield (*block.paths[section], key), kubernetes_name(key, policy.devices), effective[section]


def _misspelled(block: Block) -> Iterator[Problem]:
    """`storage` is ephemeral storage here, while flyteadmin ignores it without a word (flyteorg/flyte#4965)."""
    for key, amounts in block.amounts():
        if "storage" in amounts:
            what = "warning: read as ephemeralStorage, while Flyte ignores this key; write ephemeralStorage"
            yield block.document.problem((*block.paths[key], "storage"), what, at_key=True)


def _unknown_domains(overrides: Iterable[Block], policy: Policy) -> Iterator[Problem]:
    """A namespace is never read as a domain that is not in the list."""
    known = policy.identification.namespaces.domains
    for block in overrides:
        domain = block.content.domain
        if domain and domain not in known:
            what = f"warning: no namespace is read as this domain; add it to domains, which are {', '.join(known)}"
            yield block.document.problem((*block.paths[""], "domain"), what)
