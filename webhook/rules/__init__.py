"""The rules, one file each; none imports another.

MUTATING lists those that change a Pod in their order, each by the name that exemptions have for it.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.decision import Change, Context
from webhook.pod import Pod
from webhook.rules.defaulting import default
from webhook.rules.resources import clamp, fill, unclampable
from webhook.rules.tolerations import tolerate
from webhook.settings import Skipped

Mutating: TypeAlias = Callable[[Pod, Context], tuple[Pod, list[Change]]]

__all__ = ["MUTATING", "clamp", "default", "fill", "tolerate", "unclampable"]

MUTATING: Final[tuple[tuple[Skipped, Mutating], ...]] = (("fill", fill), ("clamp", clamp), ("tolerate", tolerate))
