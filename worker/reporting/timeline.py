"""The batch over time, as the points of a chart: how many were invited, and how many have finished. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 600, 160
MOST = 48  # steps of the time axis
STEPS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440)
)
Points = Sequence[tuple[datetime, int]]


@dataclass(frozen=True)
class Line:
    """A rising line: `path` is that of an SVG. `numbers`: by step, how many so far."""

    name: str
    total: int
    path: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """`steps`: when each step ends. `top`: the number at the upper edge."""

    lines: tuple[Line, ...]
    starts: datetime
    ends: datetime
    steps: tuple[datetime, ...]
    top: int


def timeline(series: Mapping[str, Points]) -> Timeline | None:
    """The chart; None where nothing has happened, or everything within a minute."""
    given = {name: points for name, points in series.items() if points}
    times = [at for points in given.values() for at, _ in points]
    if not times or min(times) == max(times):
        return None
    first, last = min(times), max(times) + timedelta(minutes=1)
    step = next((one for one in STEPS if (last - first) / one <= MOST), (last - first) / MOST)
    many = -(-(last - first) // step)
    steps = tuple(first + step * (number + 1) for number in range(many))
    top = max(sum(number for _, number in points) for points in given.values())
    lines = tuple(_line(name, points, first, step, many, top) for name, points in given.items())
    return Timeline(lines, first, steps[-1], steps, top)


def _line(name: str, points: Points, first: datetime, step: timedelta, many: int, top: int) -> Line:
    grown = [0] * many
    for at, number in points:
        grown[min((at - first) // step, many - 1)] += number
    sums, total = [], 0
    for number in grown:
        total += number
        sums.append(total)
    path = f"M0 {HEIGHT}" + "".join(
        f"L{round(WIDTH * (index + 1) / many, 1):g} {round(HEIGHT - HEIGHT * number / top, 1):g}"
        for index, number in enumerate(sums)
    )
    return Line(name, total, path, tuple(sums))
