"""The golden cases: each folder of golden/ has a policy, quotas, a review, and the expected response.

A case whose name starts with `validate-` goes to /validate, any other to /mutate. In response.json the patch
and the audit annotation `changes` are JSON values, not the texts that the wire has.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
FILES = {"policy.yaml", "quotas.yaml", "review.json", "response.json"}


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
    def review(self) -> dict[str, Any]:
        review: dict[str, Any] = json.loads(self.text("review.json"))
        return review

    @property
    def response(self) -> dict[str, Any]:
        response: dict[str, Any] = json.loads(self.text("response.json"))
        return response


def cases() -> list[Case]:
    return [Case(folder) for folder in sorted(GOLDEN.iterdir())]
