"""The columns of a table that is no list of customers: which titles mean which column of ours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property


def plainly(title: str) -> str:
    """A title as it is compared: `Scan Ref`, `scanRef` and `scan_ref` are one."""
    return re.sub(r"[^a-z0-9]+", "", title.lower()[:200])


@dataclass(frozen=True)
class Vocabulary:
    """`names`: by our name of a column, the titles that mean it, the best first. `mapping`: titles of this table that
    mean a column of ours whatever the names say. `needed`: our names, one of which the table must have."""

    names: Mapping[str, Sequence[str]]
    mapping: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    def place(self, title: str) -> tuple[str, int] | None:
        """Our name for a title, and how good it is (0: mapped); None: the column is not read."""
        return self._places.get(plainly(title))

    @cached_property
    def _places(self) -> Mapping[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for ours, titles in self.names.items():
            for rank, known in enumerate((ours, *titles), start=1):
                found.setdefault(plainly(known), (ours, rank))
        return found | {plainly(theirs): (ours, 0) for theirs, ours in self.mapping.items()}

    def header(self, titles: Sequence[str]) -> tuple[str, ...]:
        """Our names for the columns, "" for those that are not read. Of several with one meaning the best is read."""
        places = [self.place(title) for title in titles]
        best: dict[str, int] = {}
        for place in places:
            if place is not None:
                best[place[0]] = min(place[1], best.get(place[0], place[1]))
        names, taken = [], set[str]()
        for place in places:
            chosen = place is not None and best[place[0]] == place[1] and place[0] not in taken
            names.append(place[0] if place is not None and chosen else "")
            taken.add(names[-1])
        return tuple(names)

    @property
    def advice(self) -> str:
        """What to do about a table without a needed column."""
        return f"none of its columns is one of {', '.join(self.needed)}: name one with --map THEIRS=OURS"
