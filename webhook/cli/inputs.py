"""What commands read: policies, manifests, text. What cannot be used ends the program with exit code 2."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, TypeVar

import click

from webhook.api.limit_range import LimitRange
from webhook.api.version import NEWEST, Version
from webhook.cli.output import Progress, announce_parsing, echo_message, progress
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Identification
from webhook.offline import manifests
from webhook.offline.manifests import Manifest
from webhook.offline.review import JOBS
from webhook.offline.running import Running, running
from webhook.policy.file import LoadedPolicy, load
from webhook.policy.yaml_text import Document, ProblemsError
from webhook.shared.clock import today

T = TypeVar("T")
WORLD: Final = ("Pod", "ResourceQuota", "LimitRange")  # the kinds that are read of a cluster
IN_FILES: Final = (*WORLD, *JOBS)
NOT_FOUND: Final = 404  # the status of a list of what the cluster does not have
USAGE_ERROR: Final = 2  # exit code: usage, or input that cannot be read


class Text(NamedTuple):
    """The text of a file, and what messages call it."""

    text: str
    file: str


def read_policy(file: Path) -> LoadedPolicy:
    """Load the policy, and write its warnings to stderr."""
    loaded = load_policy(file)
    for warning in loaded.warnings_on(today()):
        echo_message(warning)
    return loaded


def load_policy(file: Path) -> LoadedPolicy:
    """Load the policy."""
    text = read_text(file)
    return usable(lambda: load(text, str(file)))


def read_ledger(
    quotas: Iterable[Text], namespace: str = "", limit_ranges: tuple[Path, ...] = (), kubernetes: Version = NEWEST
) -> Ledger:
    """Return the quotas and LimitRanges of the manifests, in memory; `namespace` is that of those that state none."""
    found = usable(lambda: [quota for text in quotas for quota in manifests.quotas(*text, namespace)])
    return Ledger(found, read_limit_ranges(limit_ranges, namespace), kubernetes)


def read_limit_ranges(files: tuple[Path, ...], namespace: str = "") -> list[LimitRange]:
    """Return the LimitRanges of the manifests; `namespace` is that of those that state none."""
    texts = read_texts(files)
    return usable(lambda: [each for text in texts for each in manifests.limit_ranges(*text, namespace)])


class Source(NamedTuple):
    """Where to read a cluster from: files or a kubeconfig; of one namespace, or of all."""

    files: tuple[str, ...]
    kubeconfig: Path | None
    namespace: str


class World(NamedTuple):
    """The Pods with the jobs, the ResourceQuotas and the LimitRanges of a cluster, as objects of files are."""

    pods: list[Manifest]
    quotas: list[Manifest]
    limit_ranges: list[Manifest]


def read_world(source: Source, kinds: Iterable[str] = WORLD, optional: str = "") -> World:
    """Read the objects of these kinds; of the `optional` one, and of jobs, only where the cluster allows that."""
    if source.kubeconfig:
        found = [it for kind in kinds for it in of_cluster(source.kubeconfig, source.namespace, kind, optional)]
    else:
        found = [it for it in of_files(source.files, IN_FILES) if it.kind in (*kinds, *JOBS)]
    wanted = [each for each in found if source.namespace in ("", each.namespace)]
    quotas, limit_ranges = ([each for each in wanted if each.kind == kind] for kind in WORLD[1:])
    return World([each for each in wanted if each.kind not in WORLD[1:]], quotas, limit_ranges)


def of_files(files: Iterable[str], kinds: tuple[str, ...]) -> list[Manifest]:
    """Read the objects of these kinds, each once where files overlap; other kinds are passed over."""
    texts = read_texts(files)
    found = usable(lambda: [each for text in texts for each in manifests.read(*text, kinds, pass_over=True)])
    return [*{each.uid or id(each): each for each in found}.values()]


def of_cluster(kubeconfig: Path, namespace: str, kind: str, optional: str = "", name: str = "") -> list[Manifest]:
    """Read the objects of the kind, or the Pod of that name.

    Where the cluster forbids the optional kind, or a kind of job, there is none, and a message. There is none of a kind
    of job that the cluster does not have.
    """
    from webhook.cluster import once

    shown = Progress(f"read {{}} {kind}s")
    try:
        objects = once.read(kubeconfig, namespace, kind, name, shown.step)
    except once.ERRORS as error:
        if kind not in (optional, *JOBS):
            fail(str(error))
        if kind not in JOBS or getattr(error, "status", 0) != NOT_FOUND:
            echo_message(f"left out: {error}")
        return []
    finally:
        shown.end()
    return [Manifest(kind, data, Document(data, str(kubeconfig)), ()) for data in objects]


def running_pods(found: Iterable[Manifest], how: Identification) -> Running:
    """Return the Pods and jobs of Flyte's that run; what cannot be read is written to stderr."""
    result = running(progress(found, "read {} Pods and jobs"), how)
    for problem in result.problems:
        echo_message(problem)
    return result


def exit_if_unread(found: Running) -> None:
    """End with exit code 2 if a Pod or job could not be read; the others have been shown."""
    if found.problems:
        sys.exit(USAGE_ERROR)


def name_of(file: str) -> str:
    """Return what messages call the file."""
    return "stdin" if file == "-" else file


def read_texts(files: Iterable[str | Path]) -> list[Text]:
    """Return the text of each file, once: a pipe has it no second time."""
    return [Text(read_text(file), name_of(str(file))) for file in files]


def read_text(file: str | Path) -> str:
    """Return the text of the file, or of standard input for `-`."""
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            text = str(stream.read())
    except UnicodeDecodeError as error:
        fail(f"{file}: not UTF-8 text from byte {error.start} on; save it as UTF-8")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    announce_parsing(name_of(str(file)), text)
    return text


def read_lines(file: str) -> Iterator[str]:
    """Yield the lines of the file, or of standard input for `-`, as they come; what is not UTF-8 is replaced."""
    try:
        with click.open_file(file, encoding="utf-8", errors="replace") as stream:
            yield from stream
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
    echo_message(message)
    sys.exit(USAGE_ERROR)
