"""The golden cases: each folder of golden/ has a policy, quotas, a review, and the expected response.

Some have LimitRanges too.

A case whose name starts with `validate-` goes to /validate, any other to /mutate. In response.json the patch
and the audit annotation `changes` are JSON values, not the texts that the wire has.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webhook.cluster.ledger import Ledger
from webhook.offline import manifests

GOLDEN = Path(__file__).parent / "golden"
FILES = {"policy.yaml", "quotas.yaml", "review.json", "response.json"}
LIMIT_RANGES = "limit-ranges.yaml"


@dataclass(frozen=True)
class Case:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def endpoint(self) -> str:
        return "/validate" if self.name.startswith("validate-") else "/mutate"

    def text(self, file: str) -> str:
        return (self.folder / file).read_text()

    @property
    def ledger(self) -> Ledger:
        """The quotas and LimitRanges of the case."""
        ranges = manifests.limit_ranges(self.text(LIMIT_RANGES), LIMIT_RANGES) if self.has_limit_ranges else ()
        return Ledger(manifests.quotas(self.text("quotas.yaml"), "quotas.yaml"), ranges)

    @property
    def has_limit_ranges(self) -> bool:
        return (self.folder / LIMIT_RANGES).exists()

    @property
    def review(self) -> dict[str, Any]:
        review: dict[str, Any] = json.loads(self.text("review.json"))
        return review

    @property
    def response(self) -> dict[str, Any]:
        response: dict[str, Any] = json.loads(self.text("response.json"))
        return response


def cases() -> list[Case]:
    return [Case(folder) for folder in sorted(GOLDEN.iterdir())]
