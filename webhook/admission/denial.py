"""The denial of a Pod that its quotas have no room for, worded so that its maker does the right thing.

Flyte 1 looks for `exceeded quota` in a 403 and reads `requested:` and `limited:` out of it with regular expressions:
not less requested than limited is a task that fails for good (flytepropeller `backoff/handler.go`). Flyte 2 looks at
the status alone (`executor/pkg/plugin/k8s/plugin_manager.go`); operators and people read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from msgspec.structs import replace

from webhook.admission.decision import Allowed, Denied
from webhook.api.quantity import NANO, ZERO, Format, Quantity
from webhook.api.resource_list import ResourceList
from webhook.flyte.task import Task
from webhook.policy.settings import Creator, Outlook, Settings
from webhook.rules.findings import Exceeded, Unspecified, Verdict, Violation

REASONS: Final = {403: "Forbidden", 413: "RequestEntityTooLarge", 422: "Invalid", 429: "TooManyRequests"}
_WHOLE: Final = re.compile("[0-9]+[a-zA-Z]*")
COUNTS: Final = frozenset({"pods", "count/pods"})  # how many, not how large
MILLI: Final = NANO // 1000
# What the policy does not allow at all is final: Flyte 1 ends the attempt, and Flyte 2 retries a 403 but not a 422.
# For either Flyte, only 413 is final for a job.
NOT_ALLOWED: Final[Mapping[Creator, int]] = {"flyte1": 403, "flyte2": 422, "operator": 403, "job": 413}
# What no task does without: to be one Pod more, cpu, and memory.
NEEDED: Final = COUNTS.union(f"{side}{name}" for side in ("", "requests.", "limits.") for name in ("cpu", "memory"))


class Words(NamedTuple):
    """How a denial says what fits: before what is free now, and before what ever fits; else that nothing does."""

    now: str = "the largest task that fits now"
    not_now: str = "no task fits now"
    ever: str = "at most"
    never: str = "no task does"


OF_POD: Final = Words()
OF_RESIZE: Final = Words(
    "the most that it can grow by now", "it cannot grow now", "it can grow by at most", "it cannot grow at all"
)
OF_JOB: Final = Words(
    "free for all its Pods together now", "no Pod fits now", "all its Pods together at most", "no Pod does"
)


def creator(task: Task, *, is_job: bool = False) -> Creator:
    """Return who made the Pod, and gets the answer."""
    if is_job:
        return "job"
    if task.operated:
        return "operator"
    return "flyte1" if task.generation == 1 else "flyte2"


def refused(
    who: str, asked_by: Creator, settings: Settings, verdict: Verdict, *, words: Words = OF_POD
) -> Denied | Allowed:
    """Deny the Pod or job `who`, or its growth, with the status that the policy has for its maker and the outlook.

    Where the policy has it admitted all the same, return that it waits, and why.
    """
    outlook = verdict.outlook
    codes = settings.denial_codes.never_fits if outlook == "never-fits" else settings.denial_codes.fits_later
    code = codes[asked_by]
    plainly = _so_that_flyte1_waits if asked_by == "flyte1" and outlook == "fits-later" else _plainly_worded
    worded = str if asked_by in ("flyte2", "operator") else plainly
    native = "; ".join(map(worded, verdict.violations))
    why = f"{native}; {_plainly(verdict, outlook, words)}"
    if not isinstance(code, int):
        return Allowed(settings=settings, waits=why)
    return Denied(
        code,
        REASONS[code],
        f"{who} is forbidden: {why}",
        settings=settings,
        outlook=outlook,
        retry_after_seconds=settings.denial_codes.retry_after_seconds if code == 429 else None,
    )


def _so_that_flyte1_waits(violation: Violation) -> str:
    """Return the text of kube-apiserver, but for what Flyte 1 would take for something that never fits."""
    if not isinstance(violation, Exceeded):
        return f"{violation}, which is no exceeded quota yet"
    # Two blanks: Flyte 1's expressions want one, and take a Pod that asks for exactly the quota for impossible.
    read = _read_by_flyte1(violation.resources)
    exactly = any(violation.requested[name] == violation.limited[name] for name in read)
    text = _plainly_worded(violation)
    return text.replace(", limited: ", ", limited:  ") if exactly else text


def _plainly_worded(violation: Violation) -> str:
    """Return the text of kube-apiserver, without the decimals and exponents that Flyte 1 misreads."""
    if not isinstance(violation, Exceeded):
        return str(violation)
    sides = {side: _plain(getattr(violation, side)) for side in ("requested", "used", "limited")}
    shares = {
        name: [share._replace(amount=_plain({name: share.amount})[name]) for share in of_roles]
        for name, of_roles in violation.shares.items()
    }
    return str(replace(violation, **sides, shares=shares))


def _read_by_flyte1(names: Iterable[str]) -> Iterable[str]:
    """Return the names that Flyte 1 compares: the first ones, as long as they are limits.x or requests.x."""
    return takewhile(re.compile(r"(limits|requests)\.[a-zA-Z]+").fullmatch, names)


def _text(resources: ResourceList, names: Iterable[str]) -> str:
    """Return `name=value` for each of the names, in whole numbers, for people."""
    return ", ".join(f"{name}={value}" for name, value in _plain({name: resources[name] for name in names}).items())


def _plain(resources: ResourceList) -> ResourceList:
    """Return the same amounts, printed as whole numbers with a suffix: 1500m, 1536Mi, not 1.5 or 1500e-3."""
    return {name: value if _WHOLE.fullmatch(str(value)) else _whole(value) for name, value in resources.items()}


def _whole(value: Quantity) -> Quantity:
    return Quantity(value.nano, value.format if value.format is Format.BINARY_SI else Format.DECIMAL_SI)


def _plainly(verdict: Verdict, outlook: Outlook, words: Words) -> str:
    """Return what is short by how much, what fits, and what to do."""
    if any(isinstance(violation, Unspecified) for violation in verdict.violations):
        return "set them in the task, or have an admin set defaults for them"
    exceeded = [violation for violation in verdict.violations if isinstance(violation, Exceeded)]
    if not exceeded:
        return "the quota controller has not counted them yet; try again"
    room, most = sizes(verdict.room), sizes(verdict.most)
    now = f"{words.now}: {room}" if room else words.not_now
    ever = f"{words.ever} {most}" if most else words.never
    if outlook == "never-fits":
        short = f"short by {_short(exceeded, verdict.most)} with nothing else running"
        return f"never fits: {ever}; {short}; {now}; ask for less, or have an admin raise the quota"
    return f"short by {_short(exceeded)}; {now}; wait for other tasks to end, or ask for less"


def _short(exceeded: Sequence[Exceeded], most: ResourceList | None = None) -> str:
    """Return, by name, the most that a quota is short by: of what is left, or of the `most` there is."""
    short: dict[str, Quantity] = {}
    for violation in exceeded:
        for name in violation.resources:
            limited, used = violation.limited[name], violation.used.get(name, ZERO)
            lack = violation.requested[name] - (limited - used if most is None else most[name])
            short[name] = max(short.get(name, lack), lack)
    return _text(short, sorted(name for name, lack in short.items() if lack.nano > 0))


def sizes(room: ResourceList) -> str:
    """Return the largest task that fits into the room, as `name=amount,…` or `any`; empty where not even a Pod fits.

    Amounts are in whole thousandths, as the API server rounds them up. `cpu` and `requests.cpu` are one resource, of
    which the lesser amount fits.
    """
    resources = {name: Quantity(value.nano // MILLI * MILLI, value.format) for name, value in room.items()}
    for name in [name for name in resources if f"requests.{name}" in resources]:
        resources[f"requests.{name}"] = min(resources[f"requests.{name}"], resources.pop(name))
    if any(not resources[name] for name in NEEDED & set(resources)):
        return ""
    return _text(resources, sorted(set(resources) - COUNTS)) or "any"
