"""A process that has only so much memory, as the kubelet would have it."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from webhook.http.listener import REVIEW_CONNECTIONS

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = [(CGROUPS, "memory.max"), (CGROUPS / "unified", "memory.max"), (CGROUPS / "memory", "memory.limit_in_bytes")]
THREADS = 8 * (8 + 64) * 1024 * 1024  # bytes of stacks and arenas, hardly any of which are used
TLS_BUFFER = 256 * 1024  # that uvloop sets aside for each connection, most of which is never used
IN_GROUP = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
IN_LIMIT = 'ulimit -v "$0" && exec "$@"'


@contextmanager
def limited(program: Sequence[str], size: int) -> Iterator[list[str]]:
    """The program in a memory cgroup of its own, where one can be made; else with a limit on its address space."""
    group = _group(size)
    if group is None:
        yield ["sh", "-c", IN_LIMIT, str((_address_space(program) + size) // 1024), *program]
        return
    try:
        yield ["sh", "-c", IN_GROUP, str(group), *program]
    finally:
        group.rmdir()


def _group(size: int) -> Path | None:
    """A new group, of either version of cgroups."""
    for root, limit in LIMITS:
        group = root / f"flyte-admission-{os.getpid()}"
        with suppress(OSError):
            if not (root / "cgroup.procs").exists():
                continue  # no cgroup file system
            group.mkdir()
            try:
                (group / limit).write_text(str(size))
            except OSError:
                group.rmdir()
                raise
            return group
    return None


def _address_space(program: Sequence[str]) -> int:
    """Bytes that it takes of the address space, and not of memory, once it has read its modules."""
    code = "import webhook.server.run, webhook.cli.serve, resource as r; print(open('/proc/self/statm').read())"
    found = subprocess.run([program[0], "-c", code], check=True, capture_output=True, text=True).stdout
    total, resident, *_ = map(int, found.split())
    return (total - resident) * resource.getpagesize() + THREADS + REVIEW_CONNECTIONS * TLS_BUFFER
