"""What the shipped service accounts may do, by the API server's own word."""

from typing import NamedTuple

import pytest

from tests.e2e.client import Client
from tests.e2e.rendering import NAMESPACE

WEBHOOK, CERTS = "flyte-admission", "flyte-admission-certs"
TLS = "flyte-admission-tls"
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"


class Access(NamedTuple):
    """Something that an account of ours may do, or may not."""

    account: str
    verb: str
    resource: str
    name: str = ""
    namespace: str = ""

    def is_allowed(self, admin: Client) -> bool:
        """What the API server's RBAC says."""
        group = "admissionregistration.k8s.io" if self.resource.endswith("webhookconfigurations") else ""
        asked = {
            "user": f"system:serviceaccount:{NAMESPACE}:{self.account}",
            "groups": ["system:serviceaccounts"],
            "resourceAttributes": {"group": group, **self._asdict()},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(admin.must("POST", path, {"spec": asked})["status"]["allowed"])


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    "access",
    [
        Access(WEBHOOK, "list", "resourcequotas"),
        Access(WEBHOOK, "watch", "resourcequotas"),
        Access(WEBHOOK, "list", "limitranges"),
        Access(WEBHOOK, "watch", "limitranges"),
        Access(WEBHOOK, "list", "resourcequotas", namespace="elsewhere"),
        Access(CERTS, "get", "secrets", TLS, NAMESPACE),
        Access(CERTS, "update", "secrets", TLS, NAMESPACE),
        Access(CERTS, "get", MUTATING, "flyte-admission"),
        Access(CERTS, "patch", MUTATING, "flyte-admission"),
        Access(CERTS, "patch", VALIDATING, "flyte-admission"),
    ],
    ids=" ".join,
)
def test_each_account_may_do_what_its_program_does(admin: Client, access: Access) -> None:
    assert access.is_allowed(admin)


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    "access",
    [
        Access(WEBHOOK, "update", "resourcequotas", "q", "elsewhere"),
        Access(WEBHOOK, "list", "pods"),
        Access(WEBHOOK, "get", "secrets", TLS, NAMESPACE),
        Access(WEBHOOK, "patch", MUTATING, "flyte-admission"),
        Access(CERTS, "get", "secrets", "another", NAMESPACE),
        Access(CERTS, "get", "secrets", TLS, "elsewhere"),
        Access(CERTS, "list", "secrets", "", NAMESPACE),
        Access(CERTS, "create", "secrets", "", NAMESPACE),
        Access(CERTS, "delete", "secrets", TLS, NAMESPACE),
        Access(CERTS, "patch", MUTATING, "flyte-pod-webhook"),
        Access(CERTS, "create", VALIDATING),
        Access(CERTS, "delete", VALIDATING, "flyte-admission"),
        Access(CERTS, "list", "resourcequotas"),
    ],
    ids=" ".join,
)
def test_and_no_account_may_do_more(admin: Client, access: Access) -> None:
    assert not access.is_allowed(admin)
