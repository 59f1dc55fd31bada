"""What a policy file says that is allowed and hardly meant: warnings with their place."""

from collections.abc import Iterable, Iterator, Sequence

from webhook.policy import Policy
from webhook.policy_compile import Block, kubernetes_name
from webhook.settings import Settings
from webhook.yaml_text import Problem


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
        for name, amount in amounts.items() if key != "limits" else ():
            most = settings.limits.get(kubernetes_name(name, policy.devices))
            if amount and most and amount > most:
                what = f"warning: {amount} is over the limit {most}, which is what tasks get"
                yield block.document.problem((*block.paths[key], name), what)


def _limits_under_defaults(block: Block, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """The same where the default is of a less specific block."""
    own = {kubernetes_name(name, policy.devices) for name in block.content.defaults or ()}
    for key in block.content.limits or ():
        name = kubernetes_name(key, policy.devices)
        default, most = settings.defaults.amounts.get(name), settings.limits.get(name)
        if name not in own and default and most and default > most:
            what = f"warning: the default {default} is over this limit {most}, which is what tasks get"
            yield block.document.problem((*block.paths["limits"], key), what)


def _without_default(block: Block, policy: Policy, settings: Settings) -> Iterator[Problem]:
    """A maximum without a default becomes one, as in a LimitRange; few will want that."""
    containers = {"a container": settings.defaults, "a secondary container": settings.secondary_defaults}
    for key in block.content.limits or ():
        name = kubernetes_name(key, policy.devices)
        for who in [who for who, defaults in containers.items() if name in defaults.bounds][:1]:
            most = containers[who].bounds[name]
            what = f"warning: no default; {who} that states none gets all of {most}, as request and limit"
            yield block.document.problem((*block.paths["limits"], key), what, at_key=True)


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
