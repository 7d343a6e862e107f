"""The forms of a line, from the cells that a reader gives to the job or the refusal that it becomes. A list's own
checks accept or refuse it; what this configuration can serve gives it an account, or refuses it too. A list that cannot
be read as a whole is refused with `ListRefused`."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from onboarding_worker.core.model.customers import PERSONAL, Customer, FieldProblem, Person
from onboarding_worker.templates.values import NAMES

OWN = ("customer_id", "email", *NAMES)  # the columns in which each customer has a value of its own


# Not frozen, and nothing changes it: a list makes one for each row, and a frozen one costs four times as much.
@dataclass
class RawLine:
    """One line as the reader gives it: cells by our column names, or why it cannot be split into cells. `problems` are
    further problems that the reader found, such as a key that is not a column."""

    row: int  # the row number in a spreadsheet, where the header is 1; for JSON lines, the line number
    cells: Mapping[str, Any] | FieldProblem
    problems: tuple[FieldProblem, ...] = ()

    def __repr__(self) -> str:
        return f"RawLine(row={self.row}, …)"


class OpenQuote(FieldProblem):
    """The problem of a row with a quote that is not closed: the rows below it are read, but they are a guess."""


@dataclass(frozen=True, repr=False)
class Returned:
    """A row of a report of ours that has come back. Its cells are not checked: only what is stored about the customer
    says which of them were changed. `state`: what the report said of the row; empty for a row that a person added.
    `guessed`: the file does not say its encoding, so letters beyond ASCII may be others."""

    row: int
    customer_id: str
    cells: Mapping[str, Any]
    state: str = ""
    guessed: bool = False


class OldLink(NamedTuple):
    """A session's link that went to an address which is corrected. `channels`: on which messages about the session, or
    one in its place, go to the customer. `corrected`: those of them whose address it is. `ends` None: our own link went
    there, nobody has opened it, and it goes to the new address with a new secret."""

    account: str
    ends: datetime | None
    channels: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


@dataclass  # not frozen: see `RawLine`
class RefusedLine:
    """A line that becomes no job. `customer_id` is empty unless it is valid. `duplicate_of` is the earlier row of the
    same customer. `known`: what became of the line of a known customer, in words without personal data. Neither: it was
    refused. Until it is judged it has `if_used`, as an accepted one, and as `rest` the customer without the wrong
    cells: who knows the accounts and templates finds further problems in it. None: it has no cells that could be read.
    `warnings` are for the operator; they are not stored."""

    row: int
    customer_id: str
    problems: tuple[FieldProblem, ...] = ()
    duplicate_of: int | None = None
    known: str = ""
    warnings: tuple[FieldProblem, ...] = ()
    if_used: tuple[FieldProblem, ...] = ()
    rest: Customer | None = None


@dataclass  # not frozen: see `RawLine`
class Chosen:
    """The account, and the reason: column names and values of the configuration, nothing personal. `fallback_accounts`
    are the route's other accounts that could serve the customer, in order: they take over when the account cannot
    work."""

    account: str
    reason: str
    freshness: timedelta | None
    fallback_accounts: tuple[str, ...] = ()


@dataclass  # not frozen: see `RawLine`
class AcceptedLine:
    """A line that is a customer; once it is judged, one that becomes a job: its account, the reason for this account,
    and the freshness floor of its link.

    `if_used` are the problems of columns that may be used by nothing: see `ListOptions`. The customer has no value
    there. `above`: columns for messages that it has no value of, and a row above has one for its customer.

    `fallback_accounts` could serve the job too, in order of preference. `freshness_seconds` is the route's floor, which
    holds for all accounts; None: the floor of the account. `quiet_until`: no session before then; None: at once.
    `sets`: the columns by which it sets what needs a right. `origin`: who has brought it (`row_rights`); "": it says
    nothing to a provider. A row that is made of another one takes its values and its origin (`made_of_another`).
    `lacks`: columns for messages that it needs and has no value of. It is refused unless the customer has them stored.
    """

    row: int
    customer: Customer
    account: str = ""
    route: str = ""
    floor_seconds: int = 0
    fallback_accounts: tuple[str, ...] = ()
    freshness_seconds: int | None = None
    quiet_until: datetime | None = None
    warnings: tuple[FieldProblem, ...] = ()  # for the operator; not stored
    planned_at: datetime | None = None  # when it goes by its list's deadline; None: as soon as it may
    old_links: tuple[OldLink, ...] = ()  # that an address has which it changes; for the operator, not stored
    takes_id: bool = False  # of a known customer, who is another person; for a forecast, not stored
    is_new: bool = False  # nothing is stored of its customer; for a forecast
    lacks: tuple[FieldProblem, ...] = ()
    sets: tuple[str, ...] = ()
    origin: str = ""
    if_used: tuple[FieldProblem, ...] = ()
    above: Collection[str] = ()

    def refused(self, *problems: FieldProblem) -> RefusedLine:
        return RefusedLine(self.row, self.customer.customer_id, problems, warnings=self.warnings)


@dataclass
class PlainRows:
    """Rows below each other, each of a customer of its own, whose cells `accept` need not look at one by one: `values`
    are those of their customers, by column. `judged`: for each, once they are judged, the line of a row that differs in
    nothing but `OWN`."""

    rows: range
    values: Mapping[str, Sequence[Any]]
    judged: Sequence[AcceptedLine] = ()

    def line(self, row: int) -> AcceptedLine:
        """The row alone, not judged."""
        place = row - self.rows.start
        values = {name: column[place] for name, column in self.values.items()}
        person = Person(**{name: values.pop(name) for name in PERSONAL if name in values})
        return AcceptedLine(row, Customer(person=person, **values))

    @property
    def first(self) -> AcceptedLine:
        """The first row's line, judged."""
        own, judged = self.line(self.rows.start), self.judged[0]
        customer = replace(judged.customer, customer_id=own.customer.customer_id, person=own.customer.person)
        return replace(judged, row=own.row, customer=customer)

    def apart_from(self, alone: Collection[int]) -> Iterator["PlainRows | int"]:
        """The rows between these, and each of these, in their order."""
        begin = self.rows.start
        for row in [*sorted(alone), self.rows.stop]:
            if begin < row:
                some = slice(begin - self.rows.start, row - self.rows.start)
                values = {name: column[some] for name, column in self.values.items()}
                yield PlainRows(self.rows[some], values, self.judged[some])
            if row < self.rows.stop:
                yield row
            begin = row + 1

    def alike(self) -> Iterator[tuple[AcceptedLine, int]]:
        """The judged lines, each with how many rows it stands for."""
        lines = dict(zip(map(id, self.judged), self.judged, strict=True))
        return ((lines[one], number) for one, number in Counter(map(id, self.judged)).items())


_THE_FIRST = "remove one of the two; the first is used"
_TWO_PERSONS = "give each person an id of its own"
_TWO_ADDRESSES = (
    "a customer has one address for all purposes: remove the wrong one, or give each person an id of its own"
)


def same_customer(row: int) -> FieldProblem:
    """Why a line is a duplicate of an earlier row."""
    return FieldProblem("customer_id", f"the same customer as row {row}", _THE_FIRST)


def another_person(row: int) -> FieldProblem:
    """Why a line is not of the customer of an earlier row, whose id it has."""
    return FieldProblem("customer_id", f"same id, another person? nothing agrees with row {row}", _TWO_PERSONS)


def another_address(column: str, row: int) -> FieldProblem:
    """Why a line is refused that has another address than an earlier row of its customer."""
    return FieldProblem(column, f"another address than in row {row}, which has the same customer_id", _TWO_ADDRESSES)


def is_of_a_row_above(problem: FieldProblem) -> bool:
    """Whether the line is bad only beside an earlier row: alone in a list it would be good."""
    return problem.hint in (_THE_FIRST, _TWO_PERSONS, _TWO_ADDRESSES)


Line = AcceptedLine | RefusedLine | Returned


class ListRefused(Exception):
    """The whole list cannot be read. `reasons` are for people and contain nothing from below the header. `renames` are
    our likely names for unknown columns, `unknown` the other unknown columns."""

    def __init__(
        self, reasons: Sequence[str], *, renames: Mapping[str, str] | None = None, unknown: Sequence[str] = ()
    ) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)
        self.renames = dict(renames or {})
        self.unknown = list(unknown)
