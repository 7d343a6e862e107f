"""Numbers of rows as a person writes and copies them: `3, 7, 12-20`. Pure."""

import re
from dataclasses import dataclass

from onboarding_worker.core.database.job_ids import LARGEST

MOST_PARTS = 500  # numbers and ranges: a database bounds how long a condition may be
LONGEST = 8_000  # characters
AND_MORE = "…"
EXPECTED = "expected row numbers, as in 3,7,12-20"
_PART = re.compile(r"(\d{1,10})(?:\s*[-\u2013]\s*(\d{1,10}))?", re.ASCII)  # pages and editors make dashes of hyphens


@dataclass(frozen=True)
class RowRanges:
    """Some rows of a list: ranges, each with its first and last row, in rising order, without an overlap."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def single(self) -> int | None:
        """The row, where there is one alone."""
        ((first, last), *more) = self.ranges
        return first if first == last and not more else None

    @property
    def name(self) -> str:
        """What a text calls them: `row 7`, or `rows 3, 7, 12-20`."""
        return f"{'row' if self.single is not None else 'rows'} {self}"

    def __str__(self) -> str:
        return ", ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in self.ranges)

    def short(self, *, most: int) -> str:
        """As the text, in at most this many characters; what does not fit is `…`."""
        whole = str(self)
        return whole if len(whole) <= most else whole[: most - len(AND_MORE)].rpartition(" ")[0] + f" {AND_MORE}"


def read_rows(text: str) -> RowRanges:
    """The rows that a text names, with commas, semicolons or breaks between them. Raises ValueError, for its writer."""
    if len(text) > LONGEST:
        raise ValueError(f"give at most {LONGEST:,} characters at a time")
    parts = [part for part in (one.strip() for one in re.split(r"[,;\n]", text)) if part]
    if not parts:
        raise ValueError(EXPECTED)
    if len(parts) > MOST_PARTS:
        raise ValueError(f"give at most {MOST_PARTS} numbers and ranges at a time")
    merged: list[tuple[int, int]] = []
    for first, last in sorted(map(_range, parts)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return RowRanges(tuple(merged))


def is_among(row: int, words: str) -> bool:
    """Whether a row is, or may be, among those of a text that `RowRanges.short` has made."""
    known, more, _ = words.partition(AND_MORE)
    try:
        rows = read_rows(known)
    except ValueError:
        return False
    return any(first <= row <= last for first, last in rows.ranges) or (bool(more) and row > rows.ranges[-1][1])


def _range(part: str) -> tuple[int, int]:
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError(EXPECTED)
    first = int(found[1])
    last = int(found[2] or first)
    if not 1 <= first <= last <= LARGEST:
        raise ValueError(EXPECTED if first <= last else f"the range {first}-{last} ends before it begins")
    return first, last
