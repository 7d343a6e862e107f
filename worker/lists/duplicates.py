"""Remembers which customers a list has already had, in 16 bytes per slot instead of a dictionary's 150.

Hash tables with open addressing over plain arrays. A million customers need some 34 MB, also while the tables grow:
each has a part of the customers and grows by itself.
"""

import hashlib
import struct
from array import array
from typing import NamedTuple

from worker.core.customers.known_customers import Marks, Match, compare_marks
from worker.core.model.channels import ADDRESSES

_TABLES = 64  # a power of two; the lowest bits of a digest name the table
_TABLE_BITS = _TABLES.bit_length() - 1
_PARTS = struct.Struct("=IQ")
_FIRST_SIZE = 1 << 6  # slots of each; always a power of two
_HASHES = (1 << 32) - 1  # 0 is for what is not known
_EACH = len(Marks._fields) + 1 + len(ADDRESSES)
# Each address with the places of its hash, and of its first row.
_ADDRESSES = [(name, Marks._fields.index(name), _EACH - len(ADDRESSES) + n) for n, name in enumerate(ADDRESSES)]


class Seen:
    """Customers by a 96-bit digest of id and purpose, each with its first row."""

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

    Of each of their `Marks` a hash of 32 bits is kept, then the first row, and the first row with each address: some 60
    bytes for a customer.
    """

    def __init__(self) -> None:
        self._customers = Seen()  # each with its number here, from 1
        self._count = 0
        self._kept = array("I")  # _EACH of each customer

    def match_or_remember(self, customer_id: str, marks: Marks, row: int) -> "Earlier | None":
        """What earlier rows say of this customer; None: there is none. What this row adds is remembered."""
        given = [(mark and hash(mark) % _HASHES + 1) or 0 for mark in marks]
        number = self._customers.row_or_remember(customer_id, "", self._count + 1)
        if number is None:
            self._count += 1
            self._kept.extend((*given, row, row, row))
            return None
        begin = (number - 1) * _EACH
        known = self._kept[begin : begin + _EACH]
        match = compare_marks(known[: len(marks)], given)
        changed = None
        for column, place, at in _ADDRESSES:
            if changed is None and known[place] and given[place] and known[place] != given[place]:
                changed = column, known[at]
        if match is Match.SAME and changed is None:
            for _, place, at in _ADDRESSES:
                known[at] = known[at] if known[place] else row
            for place, one in enumerate(given):
                known[place] = known[place] or one
            self._kept[begin : begin + _EACH] = known
        return Earlier(known[len(marks)], match, changed)


class Earlier(NamedTuple):
    """The first row of a customer. `match`: whether it is of the same person. `changed`: the first column of addresses
    in which an earlier row has another one, and that row."""

    row: int
    match: Match
    changed: tuple[str, int] | None


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


_PLACES = 1 << 12  # tables of addresses; 12 bits of a digest name one, 40 bits are in its slots
_ROW_BITS = 24


class SeenAddresses:
    """Addresses, each with its first row, in 8 bytes per slot. For warnings alone.

    52 bits of a digest tell addresses apart: of 2,000 lists with two million addresses, one has a wrong warning. Rows
    behind the 16 millionth are not compared.
    """

    def __init__(self) -> None:
        self._tables = [_SmallTable() for _ in range(_PLACES)]

    def row_or_remember(self, address: str, column: str, row: int) -> int | None:
        """The earlier row with this address in this column; None for the first row, which is remembered now."""
        if row >> _ROW_BITS:
            return None
        digest = int.from_bytes(hashlib.blake2b(f"{column}\n{address}".encode(), digest_size=8).digest())
        table = self._tables[digest & (_PLACES - 1)]
        return table.row_or_remember(digest >> _ROW_BITS, row) or None


class _SmallTable:
    """A slot is a digest of 40 bits and a row; 0 is a free one, since rows start at 1."""

    def __init__(self) -> None:
        self._count = 0
        self._slots = array("Q", [0]) * 16

    def row_or_remember(self, digest: int, row: int) -> int:
        """The earlier row of this digest; 0 for the first row."""
        slots = self._slots
        mask = len(slots) - 1
        slot = digest & mask
        while kept := slots[slot]:
            if kept >> _ROW_BITS == digest:
                return kept & ((1 << _ROW_BITS) - 1)
            slot = (slot + 1) & mask
        slots[slot] = digest << _ROW_BITS | row
        self._count += 1
        if self._count * 3 > len(slots) * 2:
            self._slots, self._count = array("Q", [0]) * (2 * len(slots)), 0
            for kept in filter(None, slots):
                self.row_or_remember(kept >> _ROW_BITS, kept & ((1 << _ROW_BITS) - 1))
        return 0
