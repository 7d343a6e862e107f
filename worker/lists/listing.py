"""A whole list: opened once, checked line by line, however long it is. Refused is a list that cannot be read as a
whole; a line of a customer whom an earlier row has is a duplicate, or refused if it is of another person.

The customers that a list has already had are kept in hash tables with open addressing over plain arrays: 16 bytes for a
slot instead of the 150 of a dictionary. A million customers need some 34 MB, also while the tables grow: each has a
part of the customers and grows by itself.
"""

import hashlib
import json
import struct
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import PurePath
from typing import Any, NamedTuple

from worker.core.customers.customers import OWN_PREFIX, FieldProblem
from worker.core.model.channels import ADDRESSES
from worker.lists.accept import accept
from worker.lists.cells import as_text
from worker.lists.columns import normal
from worker.lists.formats import Form
from worker.lists.formats.csv_list import CsvList
from worker.lists.formats.json_list import JsonList
from worker.lists.formats.kind import (
    HEAD,
    NAMES,
    name_warning,
    of_binary,
    of_text,
    of_zip,
    refuse_binary,
    refuse_foreign,
)
from worker.lists.formats.opening import Content, ListBytes
from worker.lists.formats.source import Source, source_of_feature
from worker.lists.formats.zip_parts import GZIP, ZIP, Parts, gunzipped, unzipped
from worker.lists.known_customers import Marks, Match, compare_marks, marks
from worker.lists.lines import AcceptedLine, Line, ListRefused, RawLine, RefusedLine, Returned
from worker.lists.options import ListOptions
from worker.lists.own_files import STATE, OwnFile, as_written, own_file
from worker.lists.rules import DatesSeen

_TABLES = 64  # a power of two; the lowest bits of a digest name the table
_TABLE_BITS = _TABLES.bit_length() - 1
_PARTS = struct.Struct("=IQ")
_FIRST_SIZE = 1 << 6  # slots of each; always a power of two
_HASHES = (1 << 32) - 1  # 0 is for what is not known
_OWN = len(Marks._fields) + 1 + len(ADDRESSES)  # the place of the columns for messages
_EACH = _OWN + 1
_BITS = 32  # more columns for messages than these are in no list that has a header
# Each address with the places of its hash, and of its first row.
_ADDRESSES = [(name, Marks._fields.index(name), _OWN - len(ADDRESSES) + n) for n, name in enumerate(ADDRESSES)]


class Seen:
    """Customers by a 96-bit digest of id and purpose, or addresses by one of address and column, each with its first
    row."""

    def __init__(self) -> None:
        self._tables = [_Table() for _ in range(_TABLES)]

    def row_or_remember(self, customer_id: str, purpose: str, row: int) -> int | None:
        """The earlier row of this customer and purpose; None for the first row, which is remembered now."""
        high, low = _digest(customer_id, purpose)
        return self._tables[low & (_TABLES - 1)].row_or_remember(high, low, row) or None

    def row_of(self, customer_id: str, purpose: str) -> int | None:
        """The row of this customer and purpose; None if none is remembered."""
        high, low = _digest(customer_id, purpose)
        return self._tables[low & (_TABLES - 1)].row_of(high, low) or None


def _digest(customer_id: str, purpose: str) -> tuple[int, int]:
    # The separator cannot occur in either: ids are printable, purposes are slugs.
    digest = hashlib.blake2b(f"{customer_id}\n{purpose}".encode(), digest_size=12).digest()
    high, low = _PARTS.unpack(digest)
    return high, low


class SeenPeople:
    """What a list's rows say of each customer: one person, with one address of each kind for all purposes.

    Of each of their `Marks` a hash of 32 bits is kept, then the first row, the first row with each address, and a bit
    for each column for messages that a row has a value of: some 60 bytes for a customer.
    """

    def __init__(self) -> None:
        self._customers = Seen()  # each with its number here, from 1
        self._count = 0
        self._kept = array("I")  # _EACH of each customer
        self._own: dict[str, int] = {}  # columns for messages, each with its bit

    def match_or_remember(
        self, customer_id: str, marks: Marks, row: int, own: Collection[str] = ()
    ) -> "Earlier | None":
        """What earlier rows say of this customer; None: there is none. What this row adds is remembered. `own`: the
        columns for messages that it has a value of."""
        given = [(mark and hash(mark) % _HASHES + 1) or 0 for mark in marks]
        bits = sum(1 << bit for name in own if (bit := self._own.setdefault(name, len(self._own))) < _BITS)
        number = self._customers.row_or_remember(customer_id, "", self._count + 1)
        if number is None:
            self._count += 1
            self._kept.extend((*given, row, row, row, bits))
            return None
        begin = (number - 1) * _EACH
        known = self._kept[begin : begin + _EACH]
        match = compare_marks(known[: len(marks)], given)
        above = tuple(name for name, bit in self._own.items() if known[_OWN] & ~bits & (1 << bit))
        changed = None
        for column, place, at in _ADDRESSES:
            if changed is None and known[place] and given[place] and known[place] != given[place]:
                changed = column, known[at]
        if match is Match.SAME and changed is None:
            for _, place, at in _ADDRESSES:
                known[at] = known[at] if known[place] else row
            for place, one in enumerate(given):
                known[place] = known[place] or one
            known[_OWN] |= bits
            self._kept[begin : begin + _EACH] = known
        return Earlier(known[len(marks)], match, changed, above)


class Earlier(NamedTuple):
    """The first row of a customer. `match`: whether it is of the same person. `changed`: the first column of addresses
    in which an earlier row has another one, and that row. `above`: the columns for messages that only earlier rows have
    a value of."""

    row: int
    match: Match
    changed: tuple[str, int] | None
    above: tuple[str, ...]


class _Table:
    def __init__(self) -> None:
        self._allocate(_FIRST_SIZE)

    def row_or_remember(self, high: int, low: int, row: int) -> int:
        """The earlier row of this digest; 0 for the first row."""
        highs, lows, rows, mask = self._highs, self._lows, self._rows, self._mask
        slot = (low >> _TABLE_BITS) & mask
        while earlier := rows[slot]:  # rows start at 1, so 0 is a free slot
            if lows[slot] == low and highs[slot] == high:
                return earlier
            slot = (slot + 1) & mask
        highs[slot], lows[slot], rows[slot] = high, low, row
        self._left -= 1
        if not self._left:
            self._grow()
        return 0

    def row_of(self, high: int, low: int) -> int:
        """The row of this digest; 0 if none is remembered."""
        slot = (low >> _TABLE_BITS) & self._mask
        while row := self._rows[slot]:
            if self._lows[slot] == low and self._highs[slot] == high:
                return row
            slot = (slot + 1) & self._mask
        return 0

    def _allocate(self, size: int) -> None:
        self._highs = array("I", [0]) * size
        self._lows = array("Q", [0]) * size
        self._rows = array("I", [0]) * size
        self._mask = size - 1
        self._left = 2 * size // 3  # until it grows

    def _grow(self) -> None:
        highs, lows, rows = self._highs, self._lows, self._rows
        self._allocate(2 * len(rows))
        for high, low, row in zip(highs, lows, rows, strict=True):
            if row:
                self.row_or_remember(high, low, row)


OWN_ID = "give each person an id of its own"
OTHER_ADDRESS = "a customer has one address for all purposes: give each person an id of its own"
BINARY: tuple[Form, ...] = ("xlsx", "parquet")


class CustomerList:
    """A list that can be read. Iterating checks each line; it can be iterated several times."""

    def __init__(self, source: Source, options: ListOptions, *, warnings: Sequence[str]) -> None:
        self._source = source
        self._options = options
        # A workbook and a CSV file show by their columns whether they are files of ours.
        self.own = own_file([normal(title) for title in getattr(source, "titles", ())])
        self.columns = tuple(column for column in source.columns if column != STATE)
        self.warnings = (*warnings, *source.warnings)
        # Whether a customer may have several rows. JSON does not say so before its last object.
        self._repeats = isinstance(source, JsonList) or "purpose" in self.columns
        self._guessed = bool(getattr(source, "guessed", False))
        self._dates = DatesSeen(options.today)
        # After an iteration: the form that its refused dates are in, as a warning for the whole list.
        self.hint: FieldProblem | None = None

    def originals(self) -> tuple[Sequence[str], Iterator[tuple[int, Sequence[str]]]]:
        """The list as its author has it: titles, and the cells of each row below them in the same order.

        A format without a header has our names, and what is not text as JSON.
        """
        source: Any = self._source
        if hasattr(source, "originals"):
            return source.titles, source.originals()
        return self.columns, ((raw.row, [_as_cell(raw, column) for column in self.columns]) for raw in self._source)

    def __iter__(self) -> Iterator[Line]:
        people, seen = SeenPeople(), Seen()
        self._dates, self.hint = DatesSeen(self._options.today), None
        for found in islice(self._source, self._options.most):
            raw = found if self.own is None else as_written(found)
            if self.own is not None and isinstance(raw.cells, Mapping):
                if self.own is OwnFile.REPORT:
                    yield _returned(raw.row, raw.cells, seen, guessed=self._guessed)
                    continue
                if not any(raw.cells.values()):
                    continue  # a further problem of the row above it
            line = check_line(raw, self._options)
            if type(line) is not AcceptedLine or line.if_used:
                self._note_date(raw, line)
            if isinstance(line, AcceptedLine):
                customer = line.customer
                # Rejected lines are not remembered: a valid line below a rejected one is not a duplicate.
                earlier = people.match_or_remember(
                    customer.customer_id,
                    marks(customer.person, customer.kind),
                    line.row,
                    customer.person.message or (),
                )
                key = (customer.customer_id, customer.purpose)
                if earlier is not None:
                    again = _again(line, earlier, seen.row_of(*key) if self._repeats else earlier.row)
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
    """A line of a customer whom an earlier row has, too. `same`: the row with this purpose.

    It is refused if it is of another person, and where it gives another address for another purpose: the links of both
    would go to one of the two. A second line for one purpose is a duplicate.
    """
    customer = line.customer
    if earlier.match is Match.ANOTHER:
        problem = FieldProblem("customer_id", f"same id, another person? nothing agrees with row {earlier.row}", OWN_ID)
    elif earlier.changed is not None and same is None:
        column, row = earlier.changed
        problem = FieldProblem(
            column, f"another address than in row {row}, which has the same customer_id", OTHER_ADDRESS
        )
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


def check_line(raw: RawLine, options: ListOptions) -> AcceptedLine | RefusedLine:
    """Check a raw line, and add the problems that its reader found."""
    if isinstance(raw.cells, FieldProblem):
        return RefusedLine(raw.row, "", (raw.cells,))
    cells = raw.cells
    if options.defaults:
        missing = {column: text for column, text in options.defaults.items() if not cells.get(column)}
        cells = {**cells, **missing}
    line = accept(raw.row, cells, options)
    if not raw.problems:
        return line
    if isinstance(line, AcceptedLine):
        own_id, customer = line.customer.customer_id, line.customer
        return RefusedLine(raw.row, own_id, raw.problems, if_used=line.if_used, rest=customer)
    return replace(line, problems=(*raw.problems, *line.problems))


def open_list(content: Content, options: ListOptions) -> CustomerList:
    """Open a customer list; a stream must be binary and seekable, and stays open.

    Raises ListRefused, with every reason, for a list that cannot be read as a whole.
    """
    source, warnings = open_table(content, options)
    return CustomerList(source, options, warnings=warnings)


def open_table(content: Content, options: ListOptions) -> tuple[Source, list[str]]:
    """The raw lines of a list or another table, unchecked, and what to say about the file. Raises ListRefused."""
    name = PurePath(content).name if isinstance(content, str | PathLike) else ""
    try:
        read, form = _found(ListBytes(content), options, name)
        return _source(read, options, form), name_warning(name, form)
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
        form = of_binary(head)
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


def _source(read: ListBytes, options: ListOptions, form: Form) -> Source:
    match form:
        case "csv":
            return CsvList(read, options)
        case "json" | "jsonl":
            return JsonList(read, options, array=form == "json")
        case _:
            return source_of_feature(read, options, form)
