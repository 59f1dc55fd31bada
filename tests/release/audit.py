"""Reports what pip-audit found, and what it could not look up, from its JSON on stdin, for `make audit`."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def lines(dependencies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each vulnerability, and one that says what was looked up."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    audited = [each for each in dependencies if "skip_reason" not in each]
    for each in audited:
        for found in each["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            yield f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}"
    yield f"looked up {len(audited)} of {len(audited) + len(skipped)} dependencies in PyPI's list of vulnerabilities"
    if skipped:
        yield f"not looked up, because the index here does not have that list: {', '.join(skipped)}"


def main(text: str) -> int:
    """Print the lines; return 1 if there is a vulnerability, or no report."""
    if not text.strip():
        print("pip-audit reported nothing; what it wrote to stderr says why", file=sys.stderr)
        return 1
    dependencies = json.loads(text)["dependencies"]
    print(*lines(dependencies), sep="\n")
    return int(any(each.get("vulns") for each in dependencies))


if __name__ == "__main__":
    sys.exit(main(sys.stdin.read()))
