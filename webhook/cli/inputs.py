"""What commands read: policies, manifests, text. What cannot be used ends the program with exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click

from webhook.cluster.ledger import Ledger
from webhook.offline import manifests
from webhook.policy.file import LoadedPolicy, load
from webhook.policy.yaml_text import ProblemsError
from webhook.shared.clock import today

T = TypeVar("T")
USAGE_ERROR: Final = 2  # exit code: usage, or input that cannot be read


def read_policy(file: Path) -> LoadedPolicy:
    """Load the policy, and write its warnings to stderr."""
    loaded = load_policy(file)
    for warning in loaded.warnings_on(today()):
        click.echo(warning, err=True)
    return loaded


def load_policy(file: Path) -> LoadedPolicy:
    """Load the policy."""
    text = read_text(file)
    return usable(lambda: load(text, str(file)))


def read_ledger(files: tuple[Path, ...]) -> Ledger:
    """Return the quotas of the manifests, in memory."""
    return Ledger(usable(lambda: [quota for file in files for quota in manifests.quotas(read_text(file), str(file))]))


def read_text(file: str | Path) -> str:
    """Return the text of the file, or of standard input for `-`."""
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            return str(stream.read())
    except UnicodeDecodeError as error:
        fail(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}")
    except OSError as error:
        fail(f"{file}: {error.strerror}")


def usable(read: Callable[[], T]) -> T:
    """Return what `read` returns; end with its problems if there are any."""
    try:
        return read()
    except ProblemsError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """End the program with this message."""
    click.echo(message, err=True)
    sys.exit(USAGE_ERROR)
