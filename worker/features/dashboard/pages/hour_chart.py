"""What happened in each hour, as the bars of an SVG. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 720, 150
MOST = 48
STEPS = tuple(timedelta(hours=hours) for hours in (1, 3, 6, 12, 24, 72, 168, 720))
FILLS = {"issued": "issued", "invited": "invited", "refused": "failed", "finished": "completed"}


@dataclass(frozen=True)
class Bar:
    fill: str
    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """`table`: the same numbers for persons who read them: the start of each step, and a number for each series."""

    bars: Sequence[Bar]
    names: Sequence[tuple[str, str, int]]
    first: datetime
    last: datetime
    step: timedelta
    top: int
    table: Sequence[tuple[datetime, Sequence[int]]]


def chart(series: Mapping[str, Sequence[tuple[datetime, int]]]) -> Chart | None:
    """The chart; None where nothing has happened."""
    times = [at for points in series.values() for at, _ in points]
    if not times:
        return None
    first, last = min(times), max(times) + timedelta(hours=1)
    step = next((one for one in STEPS if (last - first) / one <= MOST), (last - first) / MOST)
    many = max(-(-(last - first) // step), 1)
    sums = {name: [0] * many for name in series}
    for name, points in series.items():
        for at, number in points:
            sums[name][min((at - first) // step, many - 1)] += number
    top = max(max(numbers) for numbers in sums.values())
    place, bars = WIDTH / many, []
    wide = min(place * 0.8 / len(sums), 14)
    for index in range(many):
        for which, (name, numbers) in enumerate(sums.items()):
            if numbers[index]:
                high = max(HEIGHT * numbers[index] / top, 1.5)
                x = place * index + (place - wide * len(sums)) / 2 + wide * which
                at = first + step * index
                words = f"{at:%Y-%m-%d %H:%M}: {numbers[index]:,} {name}"
                bars.append(
                    Bar(FILLS[name], round(x, 1), round(HEIGHT - high, 1), round(wide, 1), round(high, 1), words)
                )
    names = [(name, FILLS[name], sum(numbers)) for name, numbers in sums.items()]
    table = [(first + step * index, [numbers[index] for numbers in sums.values()]) for index in range(many)]
    return Chart(bars, names, first, first + step * many, step, top, [row for row in table if any(row[1])])
