"""Options that several commands have."""

import click

from webhook.shared.option_types import FILE

policy_option = click.option(
    "--policy", type=FILE, required=True, metavar="FILE",
    help="Defaults, maxima and tolerations, in the words of Flyte's task_resources and plugins.k8s.",
)  # fmt: skip
quotas_option = click.option(
    "--quotas", type=FILE, multiple=True, metavar="FILE",
    help="ResourceQuota manifests to check against, in memory: status.hard and status.used where given, "
    "else spec.hard and nothing used. Admitted Pods are charged. May be given several times.",
)  # fmt: skip
