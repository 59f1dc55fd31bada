"""Runs pip-audit for `make audit`, and reports what it found, and what it could not look up."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def lines(dependencies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each vulnerability, and lines that say what was looked up."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    audited = [each for each in dependencies if "skip_reason" not in each]
    for each in audited:
        for found in each["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            yield f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}"
    yield f"looked up {len(audited)} of {len(dependencies)} dependencies in PyPI's list of vulnerabilities"
    if skipped:
        yield f"not looked up, because the index here does not have that list: {', '.join(skipped)}"


def main(command: Sequence[str]) -> int:
    """Run pip-audit, which prints JSON, and print the lines; return 1 if there is a vulnerability, or no report."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        print(f"pip-audit reported nothing:\n{done.stderr}", file=sys.stderr)
        return 1
    dependencies = json.loads(done.stdout)["dependencies"]
    print(*lines(dependencies), sep="\n")
    return int(any(each.get("vulns") for each in dependencies))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
