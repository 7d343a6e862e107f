"""A whole list: opened once, checked line by line, however long it is. Refused is a list that cannot be read as a
whole; a line of a customer whom an earlier row has is a duplicate, or refused if it is of another person."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import PurePath
from typing import Any

from onboarding_worker.core.model.customers import OWN_PREFIX, FieldProblem
from onboarding_worker.lists.accept import accept, plain_rows
from onboarding_worker.lists.cells import as_text
from onboarding_worker.lists.columns import STATE, OwnFile, as_written, own_file
from onboarding_worker.lists.dates import DatesSeen
from onboarding_worker.lists.formats import Form
from onboarding_worker.lists.formats.csv_list import CsvList
from onboarding_worker.lists.formats.json_list import JsonList
from onboarding_worker.lists.formats.kind import (
    HEAD,
    NAMES,
    PARQUET,
    name_warning,
    of_text,
    of_zip,
    refuse_binary,
    refuse_foreign,
)
from onboarding_worker.lists.formats.opening import GZIP, ZIP, Content, ListBytes, Parts, gunzipped, unzipped
from onboarding_worker.lists.formats.source import Source, source_of_feature
from onboarding_worker.lists.lines import (
    AcceptedLine,
    Line,
    ListRefused,
    PlainRows,
    RawLine,
    RefusedLine,
    Returned,
    another_address,
    another_person,
)
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.same_person import Earlier, Match, Seen, SeenPeople

BINARY: tuple[Form, ...] = ("xlsx", "parquet")


class CustomerList:
    """A list that can be read. Iterating checks each line; it can be iterated several times."""

    def __init__(self, source: Source, options: ListOptions, *, warnings: Sequence[str]) -> None:
        self._source = source
        self._options = options
        # A workbook and a CSV file show by their columns whether they are files of ours.
        self.own = own_file(getattr(source, "titles", ()))
        self.columns = tuple(column for column in source.columns if column != STATE)
        self.warnings = (*warnings, *source.warnings)
        # Whether a customer may have several rows. JSON does not say so before its last object.
        self._repeats = isinstance(source, JsonList) or "purpose" in self.columns
        self._guessed = bool(getattr(source, "guessed", False))
        self._dates = DatesSeen(options.today)
        # After an iteration: the form that its refused dates are in, as a warning for the whole list.
        self.hint: FieldProblem | None = None

    def originals(self) -> tuple[Sequence[str], Iterator[tuple[int, Sequence[str]]]]:
        """The list as its author has it: titles, and the cells of each row below them in the same order. A format
        without a header has our names, and what is not text as JSON."""
        source: Any = self._source
        if hasattr(source, "originals"):
            return source.titles, source.originals()
        return self.columns, ((raw.row, [_as_cell(raw, column) for column in self.columns]) for raw in self._source)

    def __iter__(self) -> Iterator[Line]:
        for found in self.together():
            yield from map(found.line, found.rows) if isinstance(found, PlainRows) else (found,)

    def together(self) -> Iterator[Line | PlainRows]:
        """The same lines; those that are plain stay together."""
        people, seen = SeenPeople(), Seen()
        self._dates, self.hint = DatesSeen(self._options.today), None
        if isinstance(self._source, CsvList) and self.own is None and self._options.most is None:
            for first, some, are_whole in self._source.together():
                if are_whole:
                    yield from self._plain(self._source, first, some, people, seen)
                else:
                    yield from self._lines(self._source.raw(enumerate(some, first)), people, seen)
        else:
            yield from self._lines(islice(self._source, self._options.most), people, seen)

    def _plain(
        self, source: CsvList, first: int, cells: Sequence[Any], people: SeenPeople, seen: Seen
    ) -> Iterator[Line | PlainRows]:
        columns = zip(source.names, zip(*cells, strict=True), strict=True)
        plain, closer = plain_rows(first, {name: column for name, column in columns if name}, self._options)
        for some in plain.apart_from(closer):
            for one in (some,) if isinstance(some, int) else some.apart_from(people.known_or_remember(some)):
                if isinstance(one, int):
                    yield from self._lines(source.raw([(one, cells[one - first])]), people, seen)
                    continue
                for row in one.rows if self._repeats else ():
                    customer = one.line(row).customer
                    seen.row_or_remember(customer.customer_id, customer.purpose, row)
                yield one

    def _lines(self, found: Iterable[RawLine], people: SeenPeople, seen: Seen) -> Iterator[Line]:
        for one in found:
            raw = one if self.own is None else as_written(one)
            if self.own is not None and isinstance(raw.cells, Mapping):
                if self.own is OwnFile.REPORT:
                    yield _returned(raw.row, raw.cells, seen, guessed=self._guessed)
                    continue
                if not any(raw.cells.values()):
                    continue  # a further problem of the row above it
            line = accept(raw.row, raw.cells, self._options, raw.problems)
            if type(line) is not AcceptedLine or line.if_used:
                self._note_date(raw, line)
            if isinstance(line, AcceptedLine):
                customer = line.customer
                # Rejected lines are not remembered: a valid line below a rejected one is not a duplicate.
                earlier = people.match_or_remember(customer, line.row)
                key = (customer.customer_id, customer.purpose)
                if earlier is not None:
                    again = _again(line, earlier, seen.row_or_remember(*key) if self._repeats else earlier.row)
                    if again is not line:
                        yield again
                        continue
                    line.above = [OWN_PREFIX + name for name in earlier.above]
                if self._repeats:
                    seen.row_or_remember(*key, line.row)
            yield line

    def _note_date(self, raw: RawLine, line: AcceptedLine | RefusedLine) -> None:
        problems = line.if_used if isinstance(line, AcceptedLine) else (*line.problems, *line.if_used)
        is_bad = any(problem.column == "date_of_birth" for problem in problems)
        if is_bad and not isinstance(raw.cells, FieldProblem):
            self._dates.add(raw.cells.get("date_of_birth"))
            found = self._dates.hint()
            self.hint = None if found is None else FieldProblem("date_of_birth", *found)


def _again(line: AcceptedLine, earlier: Earlier, same: int | None) -> Line:
    """A line of a customer whom an earlier row has, too. `same`: the row with this purpose. It is refused if it is of
    another person, or gives another address: the links of both would go to one of the two. Any other second line for
    one purpose is a duplicate."""
    customer = line.customer
    if earlier.match is Match.ANOTHER:
        problem = another_person(earlier.row)
    elif earlier.changed is not None:
        problem = another_address(*earlier.changed)
    else:
        return line if same is None else RefusedLine(line.row, customer.customer_id, duplicate_of=same)
    return RefusedLine(line.row, customer.customer_id, (problem,), if_used=line.if_used, rest=customer)


def _returned(row: int, cells: Mapping[str, Any], seen: Seen, *, guessed: bool) -> Returned | RefusedLine:
    """A row of a report; the second row of a customer is a duplicate, whether it was changed or not."""
    text = {name: cell.strip() if isinstance(cell, str) else cell for name, cell in cells.items()}
    state = str(text.pop(STATE, "") or "")
    own_id = as_text(text.get("customer_id"), "customer_id")
    customer_id = own_id if isinstance(own_id, str) else ""
    earlier = seen.row_or_remember(customer_id, str(text.get("purpose") or ""), row) if customer_id else None
    if earlier is not None:
        return RefusedLine(row, customer_id, duplicate_of=earlier)
    return Returned(row, customer_id, text, state, guessed)


def _as_cell(raw: RawLine, column: str) -> str:
    cell = raw.cells.get(column) if isinstance(raw.cells, Mapping) else None
    return "" if cell is None else cell if isinstance(cell, str) else json.dumps(cell, default=str, ensure_ascii=False)


def open_list(content: Content, options: ListOptions) -> CustomerList:
    """Open a customer list; a stream must be binary and seekable, and stays open. Raises ListRefused, with every
    reason, for a list that cannot be read as a whole."""
    source, warnings = open_table(content, options)
    return CustomerList(source, options, warnings=warnings)


def open_table(content: Content, options: ListOptions) -> tuple[Source, list[str]]:
    """The raw lines of a list or another table, unchecked, and what to say about the file. Raises ListRefused."""
    name = PurePath(content).name if isinstance(content, str | PathLike) else ""
    try:
        read, form = _found(ListBytes(content), options, name)
        if form == "csv":
            source: Source = CsvList(read, options)
        elif form in ("json", "jsonl"):
            source = JsonList(read, options, array=form == "json")
        else:
            source = source_of_feature(read, options, form)
        return source, name_warning(name, form)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ListRefused([f"the file cannot be opened: {reason}"]) from None


def _found(read: ListBytes, options: ListOptions, name: str) -> tuple[ListBytes, Form]:
    """The list, decompressed if it was compressed, and its format."""
    with read.opened() as raw:
        head = raw.read(HEAD)
        if head.startswith(GZIP):
            read = ListBytes.kept(gunzipped(raw))
        elif head.startswith(ZIP) and of_zip(Parts(raw, "the ZIP file").names) is None:
            read = ListBytes.kept(unzipped(raw))
    with read.opened() as raw:
        head = raw.read(HEAD)
        form: Form | None = "parquet" if head.startswith(PARQUET) else None
        if head.startswith(ZIP):
            form = of_zip(Parts(raw, "the ZIP file").names)
            if form is None:
                raise ListRefused(["the file is compressed twice: decompress it first"])
    if form is None and options.form not in BINARY:
        refuse_foreign(head)
        if options.encoding is None:
            refuse_binary(head)
    if options.form is None:
        return read, form or of_text(head, name)
    if form is not None and form != options.form:
        raise ListRefused([f"--format {options.form}: the file is {NAMES[form]}; leave the option out"])
    if form is None and options.form in BINARY:
        refuse_foreign(head)
        raise ListRefused([f"--format {options.form}: the file is not {NAMES[options.form]}; leave the option out"])
    return read, options.form
