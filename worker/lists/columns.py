"""Maps the columns of a header, and the keys of a customer's JSON object, a line of a list or the data of an event, to
our columns; and says what to do about unknown ones.

Our own files come back as lists: a report, or a file of problems, that a person has edited in a spreadsheet. They are
recognised by their columns, in any order. Their own columns are not read as the list's: a report's `account` is the
account that serves a row, and forces none."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache, partial
from itertools import islice
from typing import Any, NamedTuple

from onboarding_worker.core.foundation.notation import unguarded
from onboarding_worker.core.model.customers import MESSAGE, MOST_OWN, FieldProblem
from onboarding_worker.lists.lines import ListRefused, RawLine
from onboarding_worker.lists.options import ADOPTED, ListOptions
from onboarding_worker.lists.other_names import ENGLISH, OTHER_NAMES, WHOLE_NAMES, without_accents
from onboarding_worker.lists.own_columns import is_own, own_column
from onboarding_worker.lists.rules import COLUMNS
from onboarding_worker.providers.facts import PROVIDERS

# The nearest of our names is looked for with each unknown title, which takes time; no list of customers is as wide.
MOST_COLUMNS = 1_000
LONGEST_HEADER = 1 << 17  # characters of all titles together; each is compared with our names
MOST_REASONS = 20
MOST_KEYS = 500
# So many different unknown names get the name that is meant, a millisecond each: a list may have others in each line.
MOST_NEAREST = 1000
_TOO_MANY_KEYS = FieldProblem("", f"more than {MOST_KEYS} keys", "remove the keys that are not about the customer")
_TITLE = re.compile(r"[\w .\-/()#]{1,60}")
_PARAMETER = re.compile(r"[\w-]+(?:\.[\w-]+)+")  # not "Customer No."
_NOTHING = ""  # a column that is left out
# One letter of a short title is much of it: at 0.75 "Stage" is near "tag" and "Plan" near "lang".
_ALIKE = 0.77
_ID = "customer_id"
_OF_IDS = re.compile(r"(?:^|_)id$")  # the last word of a title
_SAMPLE = 50  # rows whose cells are looked at

STATE = "#state"  # a report's column `state`, as a cell of a raw line; no list can name it
_UTC = "_(utc)"  # after the columns with times, in a workbook


class OwnFile(StrEnum):
    REPORT = "report"
    PROBLEMS = "problems"


ERRORS_COLUMNS = ("row", "column", "problem", "hint", "severity")
# Of a report with every option; `customer_id`, and the customer's details, are read.
_REPORT = (
    "row state result reasons account reference issued_at expires_at invitation attempts waits error action route brand"
    " link digits vendor vendor_parameters next_at"
)
REPORT_COLUMNS = frozenset(_REPORT.split())
_READ = {"state": STATE, "account": "account", "brand": "brand"}
_NEEDED = {
    # A person may have removed columns that no one needs: two of the others are enough.
    OwnFile.REPORT: ({"row", "customer_id", "state"}, {"invitation", "attempts", "waits", "error", "next_at"}),
    OwnFile.PROBLEMS: ({"row", "column", "problem"}, {"hint", "severity"}),
}


def normal(title: str) -> str:
    """A column's title as we compare it: case, spaces and hyphens make no difference."""
    return re.sub(r"[\s-]+", "_", title.strip().lower())


def shown(title: str) -> str:
    """The title if it may be shown. The first row of a list without a header holds a customer's data."""
    plain = _TITLE.fullmatch(title) and sum(map(str.isdigit, title)) < 5
    return title if plain else "a column whose name is not shown"


def own_file(titles: Collection[str]) -> OwnFile | None:
    """Which of our files has these titles; None: it is a list of somewhere else."""
    given = {normal(title).removesuffix(_UTC) for title in titles}
    for own, (needed, some) in _NEEDED.items():
        if needed <= given and len(some & given) >= 2:
            return own
    return None


def _name_of(title: str, options: ListOptions, own: OwnFile | None) -> str | None:
    """As `our_name`, of a list or of a file of ours. Of the file's own columns only a report's state is read, and what
    a row that is filled in may say."""
    its_own = normal(title).removesuffix(_UTC)
    if own is OwnFile.REPORT and its_own in REPORT_COLUMNS:
        return _READ.get(its_own, _NOTHING)
    if own is OwnFile.PROBLEMS and its_own in ERRORS_COLUMNS:
        return _NOTHING
    return our_name(title, options)


def as_written(raw: RawLine) -> RawLine:
    """The line without the marks that keep a spreadsheet from running a cell as a formula."""
    if isinstance(raw.cells, FieldProblem):
        return raw
    cells = {name: unguarded(cell) if isinstance(cell, str) else cell for name, cell in raw.cells.items()}
    return replace(raw, cells=cells)


class Header(NamedTuple):
    """`names` has our name for each column of the list; "": the column is left out. `nameless` holds the indexes of
    columns without a title: their cells must be empty."""

    names: tuple[str, ...]
    nameless: tuple[int, ...]
    titles: tuple[str, ...] = ()  # the list's own, of all columns

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name)


def our_name(title: str, options: ListOptions) -> str | None:
    """Our name for a column; "": ignore it; None: it is unknown."""
    if options.vocabulary is not None:
        place = options.vocabulary.place(title)
        return None if place is None else place[0]
    key = normal(title)
    target = options.mapping.get(title.strip())
    if target is None:
        target = next((ours for theirs, ours in options.mapping.items() if normal(theirs) == key), None)
    if target is None and any(normal(ignored) == key for ignored in options.ignore):
        return _NOTHING
    name = target if target is not None else title
    if options.adopts and normal(name) in ADOPTED:
        return ADOPTED[normal(name)]
    return known_name(name)


def _as_provider(title: str) -> str:
    return normal(title).replace("_", "-")


def known_name(title: str) -> str | None:
    """The column of ours, or the provider's parameter, that has this name; None: there is none."""
    name = normal(title)
    if name in COLUMNS:
        return name
    provider, dot, parameter = title.strip().partition(".")
    provider = _as_provider(provider)
    # A parameter keeps its case: it is the provider's own name.
    if dot and provider in PROVIDERS and all(parameter.split(".")):
        return f"{provider}.{parameter}"
    return own_column(title)[0] if dot else None


def read_header(titles: Sequence[str], options: ListOptions, rows: Iterable[Any] = ()) -> Header:
    """The list's columns. `rows`: those below, each with its number; their cells show which column has the ids. Raises
    ListRefused with a reason for each column that must change."""
    if len(titles) > MOST_COLUMNS:
        raise ListRefused([f"the header has {len(titles):,} columns, more than {MOST_COLUMNS:,}: is the file a list?"])
    if sum(map(len, titles)) > LONGEST_HEADER:
        raise ListRefused([too_long_header()])
    if options.vocabulary is not None:
        read = options.vocabulary.header(titles)
        if not set(options.vocabulary.needed) & set(read):
            needed = ", ".join(options.vocabulary.needed)
            raise ListRefused([f"none of its columns is one of {needed}: name one with --map THEIRS=OURS"])
        return Header(read, (), tuple(title.strip() for title in titles))
    own = own_file(titles)
    found = [_name_of(title, options, own) if title.strip() else _NOTHING for title in titles]
    names = [name or _NOTHING for name in found]
    unknown = [(place, titles[place].strip()) for place, name in enumerate(found) if name is None]
    suggested = _suggested(unknown, names, rows) if unknown else {}
    # One name that is like ours may be chance, in a list without a header.
    if not any(names) and len(suggested.get("renames", ())) < 2:
        columns = "its only column is not" if len(titles) == 1 else f"none of its {len(titles)} columns is"
        why = (
            f"the first row is not a known header: {columns} known. The list needs a header row with at least "
            "customer_id and email or phone; rename columns with --map THEIRS=OURS, set the delimiter with --delimiter"
        )
        raise ListRefused([why])
    reasons: list[str] = []
    for place, title in unknown:
        column = f'column {place + 1} ("{title}")' if shown(title) == title else f"column {place + 1}"
        problem, known, way_out = _unknown(title, suggested["renames"].get(title))
        reasons.append(f"{column} {problem}; {known}{way_out}")
    reasons += _clashes(names)
    if _ID not in names:
        reasons += ["the column customer_id is missing: map the column with your own ids with --map THEIRS=customer_id"]
    for name in dict.fromkeys(names):
        provider, dot, parameter = name.partition(".")
        if dot and not is_own(name) and (wrong := options.known_parameter(provider, parameter)):
            reasons.append(f"column {name}: {wrong}")
    if sum(map(is_own, names)) > MOST_OWN:
        reasons.append(f"more than {MOST_OWN} columns for messages: leave out those that no template has")
    if reasons:
        more = len(reasons) - MOST_REASONS
        reasons[MOST_REASONS:] = [f"and {more:,} more columns like these"] if more > 0 else []
        raise ListRefused(reasons, **suggested)
    nameless = tuple(place for place, title in enumerate(titles) if not title.strip())
    return Header(tuple(names), nameless, tuple(title.strip() for title in titles))


def too_long_header() -> str:
    return f"the header has more than {LONGEST_HEADER:,} characters: is the file a list?"


def _suggested(unknown: Sequence[tuple[int, str]], names: Sequence[str], rows: Iterable[Any]) -> dict[str, Any]:
    """What ListRefused suggests for the unknown columns, with their places, that may be shown; each column of ours is
    suggested once: first what no list can do without. Of several columns that may be ids, those of the customers differ
    in each row."""
    plain = [(place, title) for place, title in unknown if shown(title) == title]
    meant = {title: nearest(title) for _, title in plain}
    renames: dict[str, str] = {}
    if _ID not in names:
        cells = [row for _, row in islice(rows, _SAMPLE) if not isinstance(row, FieldProblem)]

        def unlikely(one: tuple[int, str]) -> tuple[bool, bool]:
            differ = {cell for row in cells for cell in row[one[0] : one[0] + 1] if cell}
            return len(differ) < len(cells), meant[one[1]] != _ID

        ids = [one for one in plain if meant[one[1]] == _ID or (not meant[one[1]] and _OF_IDS.search(normal(one[1])))]
        likely = min(ids, key=unlikely, default=None)
        if likely is not None and unlikely(likely) != (True, True):
            renames[likely[1]] = _ID
    for title, ours in meant.items():
        if title not in renames and ours and ours not in names and ours not in renames.values():
            renames[title] = ours
    return {"renames": renames, "unknown": [title for _, title in plain if title not in renames]}


def _unknown(title: str, near_name: str | None, *, near: bool = True) -> tuple[str, str, str]:
    """The problem, the nearest name with its punctuation, and what to do."""
    plain = shown(title) == title
    _, why_not = own_column(title)
    flag = (title if re.fullmatch(r"[\w.-]+", title) else f'"{title}"') if plain else "NAME"
    if why_not:
        return "is no column for messages", f"{why_not}; ", f"rename it, or leave it out with --ignore-column {flag}"
    provider = get_close_matches(_as_provider(title.partition(".")[0]), list(PROVIDERS), n=1) if near else []
    # A dot alone makes no parameter: "Cust.No" and "E.Mail" are names of columns.
    if plain and provider and _PARAMETER.fullmatch(title):
        known = f"the nearest provider is {provider[0]}; "
        return "is not a parameter of a known provider", known, f"leave it out with --ignore-column {flag}"
    ours, known = (near_name, f"the nearest is {near_name}: ") if near_name else ("OURS", "")
    mapped = f"{flag}={ours}" if not flag.startswith('"') else f'"{title}={ours}"'
    return "is unknown", known, f"rename it with --map {mapped}, or leave it out with --ignore-column {flag}"


@lru_cache(maxsize=1024)
def nearest(title: str) -> str | None:
    """Our column that a title most likely means, to suggest it."""
    name = re.sub(r"[^a-z0-9]+", "_", without_accents(title)).strip("_")
    if name in OTHER_NAMES or name in WHOLE_NAMES:
        return OTHER_NAMES.get(name)
    near = get_close_matches(name, OTHER_NAMES, 1, 0.85) or get_close_matches(name, [*COLUMNS, *ENGLISH], 1, _ALIKE)
    ours = OTHER_NAMES.get(near[0], near[0]) if near else None
    return None if ours == "account" and _OF_IDS.search(name) else ours  # an account of ours has a name


def _clashes(names: Sequence[str]) -> list[str]:
    reasons = [
        f"columns {names.index(name) + 1} and {place + 1} are both {name}; "
        "remove one, or rename one to leave it out with --ignore-column"
        for place, name in enumerate(names)
        if name and names.index(name) < place
    ]
    both = "is given both as a whole and in parts; keep one of the two"
    return reasons + [f"{name} {both}" for name in whole_and_in_parts(dict.fromkeys(names))]


def whole_and_in_parts(names: Iterable[str]) -> list[str]:
    """The parameters that are given both as a whole and in parts: `a.b` next to `a.b.c`."""
    parameters = [name for name in names if "." in name]
    wholes = {name[: dot.start()] for name in parameters for dot in re.finditer(r"\.", name)}
    return [name for name in parameters if name in wholes]


class Objects:
    """The objects of one source; the result for each key is cached."""

    def __init__(self, options: ListOptions, *, own: OwnFile | None = None) -> None:
        """`own`: the objects are lines of this file of ours."""
        self._options = options
        self._unknown = 0  # names that were looked for
        self._name_of = lru_cache(maxsize=1024)(partial(_name_of, options=options, own=own))
        self._problem_of = lru_cache(maxsize=1024)(self._find_problem)

    def cells(self, row: int, found: Mapping[str, Any]) -> RawLine:
        if self._options.vocabulary is not None:
            flat = dict(islice(_flat(found, "", 0), MOST_KEYS))
            named = zip(flat.values(), self._options.vocabulary.header(list(flat)), strict=True)
            return RawLine(row, {name: value for value, name in named if name})
        keys = list(self._by_dots(found))
        if len(keys) > MOST_KEYS:
            return RawLine(row, _TOO_MANY_KEYS)
        cells: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        refused, are_all = 0, True
        for key, value in keys:
            # No column's name is nearly as long, and the search for the nearest name takes time.
            key = key if len(key) <= 200 else ""
            name = self._name_of(key)
            if name is None or "." in name:
                # The name that is meant is looked for, which takes time: not with each of some hundred keys.
                if refused == MOST_REASONS:
                    are_all = False
                    continue
                if (problem := self._problem_of(key, name)) is not None:
                    refused += 1
                    problems.append(problem)
                    continue
            if name in cells:
                problems.append(FieldProblem(name, "it is given twice, under two names", "keep one of the two"))
            elif name:
                cells[name] = value
        if not are_all:
            problems.append(FieldProblem("", f"more than {MOST_REASONS} unknown keys", _TOO_MANY_KEYS.hint))
        for name in whole_and_in_parts(cells):
            problems.append(FieldProblem(name, "it is given both as a whole and in parts", "keep one of them"))
            del cells[name]
        return RawLine(row, cells, tuple(problems))

    def _by_dots(self, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The line's keys, with `"idenfy-kyc": {"documents": …}` expanded to `idenfy-kyc.documents`."""
        holds_columns = {MESSAGE, *PROVIDERS}
        for key, value in found.items():
            if isinstance(value, dict) and _as_provider(key) in holds_columns and our_name(key, self._options) is None:
                for inner, parameter in value.items():
                    yield f"{key}.{inner}", parameter
            else:
                yield key, value

    def _find_problem(self, key: str, name: str | None) -> FieldProblem | None:
        near = self._unknown < MOST_NEAREST
        if name is None:
            self._unknown += 1
            title = key.strip()
            # There is no header to refuse.
            problem, known, way_out = _unknown(title, nearest(title) if near else None, near=near)
            return FieldProblem(shown(title), "; ".join(filter(None, (problem, known.rstrip(" ;:")))), way_out)
        if is_own(name):
            return None
        provider, _, parameter = name.partition(".")
        wrong = self._options.known_parameter(provider, parameter, near=near)
        self._unknown += bool(wrong)
        return FieldProblem(shown(name), wrong, f"see the parameters of {provider}") if wrong else None


def _flat(found: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The cells of an object of another system. Objects in it are read by keys with dots, `mail.messageId`."""
    for key, value in found.items():
        if isinstance(value, dict) and depth < 3:
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}", value
