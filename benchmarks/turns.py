"""What all benchmarks have in common: cases that take turns, ratios to a control, a table, a file."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeAlias

RESULTS: Final = Path(__file__).resolve().parent / "results"
BUSY: Final = 0.25  # the control's spread above which a figure says more of the machine than of the case
Found: TypeAlias = Mapping[str, float]  # what one turn of a case measured -> its amount


@dataclass(frozen=True)
class Figure:
    """One quantity of one case beside that of the control, an amount a round each."""

    case: str
    measured: str
    control: tuple[float, ...]
    amounts: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """To the control of the same round, in ascending order."""
        return sorted(amount / control for amount, control in zip(self.amounts, self.control, strict=True))

    @property
    def spread(self) -> float:
        """The interquartile range of the control, as a share of its median."""
        if len(self.control) == 1:
            return 0.0
        first, median, third = statistics.quantiles(self.control, n=4, method="inclusive")
        return (third - first) / abs(median)

    @property
    def row(self) -> str:
        """Of the table."""
        control, amount, ratio = (statistics.median(values) for values in (self.control, self.amounts, self.ratios))
        row = f"{self.case:48} {self.measured:22}{_short(control):>9}{_short(amount):>10}{ratio:>8.2f}"
        busy = f"   not usable: the control's spread is {self.spread:.0%}" if self.spread > BUSY else ""
        return f"{row}   {self.ratios[0]:.2f} to {self.ratios[-1]:.2f}{busy}"


def _short(amount: float) -> str:
    return f"{amount:.0f}" if amount >= 1000 else f"{amount:.3g}"


def in_turns(cases: Mapping[str, Callable[[], Found]], rounds: int) -> dict[str, list[Found]]:
    """What each case found in each round, forwards and backwards by turns; before several, one warms up."""
    found: dict[str, list[Found]] = {name: [] for name in cases}
    warm_up = rounds > 1
    for number in range(rounds + warm_up):
        for name in reversed(list(cases)) if number % 2 else cases:
            amounts = cases[name]()
            if number >= warm_up:
                found[name].append(amounts)
    return found


def against(control: str, found: Mapping[str, Sequence[Found]], prefix: str = "") -> Iterator[Figure]:
    """All that the other cases found, beside what the control did."""
    for case, rounds in found.items():
        for measured in rounds[0] if case != control else ():
            base = tuple(amounts[measured] for amounts in found[control])
            yield Figure(prefix + case, measured, base, tuple(amounts[measured] for amounts in rounds))


def microseconds(step: Callable[[int], object], count: int) -> Found:
    """How long a step takes, called with 0 to count - 1."""
    start = time.perf_counter()
    for number in range(count):
        step(number)
    return {"us": (time.perf_counter() - start) / count * 1e6}


def run(title: str, control: str, measure: Callable[[bool], Iterable[Figure]]) -> None:
    """The command of a benchmark: measure (True if only a little), print the table, write the file."""
    parser = argparse.ArgumentParser(description=title, epilog=f"The control is {control}.")
    parser.add_argument("--quick", action="store_true", help="measure next to nothing, to see that it works")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON is written")
    options = parser.parse_args()
    load = [round(each, 2) for each in os.getloadavg()]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": load}
    print(f"{title}\n{machine['cpus']} cpus, Python {machine['python']}, load before: {load[0]}; control: {control}\n")
    figures = list(measure(options.quick))
    print(f"{'':48} {'':22}{'control':>9}{'measured':>10}{'ratio':>8}   lowest to highest")
    print("\n".join(figure.row for figure in figures))
    options.results.mkdir(parents=True, exist_ok=True)
    content = {"title": title, "control": control, "machine": machine, "figures": [_as_data(it) for it in figures]}
    file = options.results / f"{Path(sys.argv[0]).stem}.json"
    file.write_text(json.dumps(content, indent=1) + "\n")


def _as_data(figure: Figure) -> dict[str, object]:
    ratios = figure.ratios
    ratio = {"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
    return {**asdict(figure), "ratio": ratio, "control_spread": figure.spread, "usable": figure.spread <= BUSY}
