"""Project and domain come from the name of the namespace, as flyteadmin makes it; a task author cannot change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.flyte.namespace import NamespacePattern

FLYTES = ("development", "staging", "production")
BOTH, REVERSED = "{{ project }}-{{ domain }}", "{{ domain }}-{{ project }}"
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("template", "domains", "namespace", "expect"),
    [
        (BOTH, FLYTES, "flytesnacks-development", ("flytesnacks", "development")),
        (BOTH, FLYTES, "my-own-project-production", ("my-own-project", "production")),
        (BOTH, FLYTES, "a-development-production", ("a-development", "production")),
        (BOTH, FLYTES, "development-production", ("development", "production")),
        (BOTH, FLYTES, "flyte", ("", "")),
        (BOTH, FLYTES, "", ("", "")),
        (BOTH, FLYTES, "development", ("", "")),
        (BOTH, FLYTES, "-development", ("", "")),
        (BOTH, FLYTES, "flytesnacks-Development", ("", "")),
        (BOTH, FLYTES, "flytesnacks-development-2", ("", "")),
        (BOTH, FLYTES, "flytesnacks-development\n", ("", "")),
        (BOTH, FLYTES, "flytesnacks-qa", ("", "")),
        (BOTH, ("qa",), "flytesnacks-qa", ("flytesnacks", "qa")),
        # a domain with dashes of its own, which ends as another one does
        (BOTH, ("production", "pre-production"), "x-pre-production", ("x", "pre-production")),
        (BOTH, ("pre-production", "production"), "x-pre-production", ("x", "pre-production")),
        (BOTH, ("production", "pre-production"), "x-y-production", ("x-y", "production")),
        (BOTH, ("production", "pre-production"), "pre-production", ("pre", "production")),
        ("{{ domain }}", FLYTES, "development", ("", "development")),
        ("{{ domain }}", FLYTES, "flytesnacks-development", ("", "")),
        ("{{ project }}", FLYTES, "flytesnacks-development", ("flytesnacks-development", "")),
        (REVERSED, FLYTES, "development-my-project", ("my-project", "development")),
        (REVERSED, ("pre", "pre-production"), "pre-production-x", ("x", "pre-production")),
        ("flyte-{{ project }}-{{ domain }}", FLYTES, "flyte-a-b-staging", ("a-b", "staging")),
        ("flyte-{{ project }}-{{ domain }}", FLYTES, "a-b-staging", ("", "")),
        ("{{ domain }}-{{ project }}-{{ domain }}", FLYTES, "staging-a-staging", ("a", "staging")),
        ("{{ domain }}-{{ project }}-{{ domain }}", FLYTES, "staging-a-production", ("", "")),
        ("{{ project }}.{{ domain }}", FLYTES, "ax.staging", ("ax", "staging")),
        ("{{ project }}.{{ domain }}", FLYTES, "ax-staging", ("", "")),
        ("flyte", FLYTES, "flyte", ("", "")),
        (BOTH, ("d.v",), "x-d.v", ("x", "d.v")),
        (BOTH, ("d.v",), "x-dev", ("", "")),
    ],
)  # fmt: skip
def test_a_namespace_is_read_as_it_was_made(
    template: str, domains: tuple[str, ...], namespace: str, expect: tuple[str, str]
) -> None:
    assert NamespacePattern(template, domains).read(namespace) == expect


@given(NAMES, st.sampled_from([BOTH, REVERSED, "x-{{ domain }}.{{ project }}-y"]), st.sampled_from(FLYTES))
def test_whatever_the_project_it_comes_back(project: str, template: str, domain: str) -> None:
    namespace = template.replace("{{ project }}", project).replace("{{ domain }}", domain)
    assert NamespacePattern(template, FLYTES).read(namespace) == (project, domain)


def test_the_defaults_are_those_of_flyteadmin() -> None:
    assert NamespacePattern() == NamespacePattern(BOTH, FLYTES)
