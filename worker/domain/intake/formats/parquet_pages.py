"""How much memory the pages of a Parquet file need, by the header of each page: what pyarrow will make room for.

The file's own summary says it too, and a hostile one lies. A page is decompressed as a whole. A text that is stored
once, in a dictionary, or that shares the beginning of the text before it, is made anew for each row: so how many rows
may be in memory at a time depends on these pages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

MOST_PAGES = 512 << 20  # bytes, decompressed: the largest page of each column in one group of rows
MOST_TEXTS = 1 << 30  # bytes that the rows in memory may grow to
MOST_ROWS = 1_000  # that are in memory at a time
_HEADER, _LONGEST_HEADER = 8 << 10, 1 << 20
_MOST_PAGES = 1_000_000
_DEEPEST = 8
_DICTIONARY, _SHARING = 2, 7  # a type of pages; an encoding
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


class BadPage(Exception):
    """The pages are too large, or too many."""


class _Damaged(Exception):
    """The header is none. pyarrow ends there too: the pages before it are read."""


@dataclass(frozen=True)
class Chunk:
    """One column in one group of rows: where its pages are, and how many rows it has."""

    start: int
    size: int
    rows: int


def rows_at_once(raw: BinaryIO, groups: Iterable[Iterable[Chunk]]) -> int:
    """How many rows may be in memory at a time. Raises BadPage."""
    most = 0
    for chunks in groups:
        largest = repeated = 0
        for chunk in chunks:
            page, again = _of_chunk(raw, chunk)
            largest, repeated = largest + page, repeated + again
        if largest > MOST_PAGES:
            raise BadPage
        most = max(most, repeated)
    return max(1, min(MOST_ROWS, MOST_TEXTS // max(1, most)))


def _of_chunk(raw: BinaryIO, chunk: Chunk) -> tuple[int, int]:
    """The bytes of its largest pages, and those of them whose texts may be repeated."""
    at, end, pages = chunk.start, chunk.start + chunk.size, 0
    values = data = dictionary = sharing = 0
    while at < end and pages < _MOST_PAGES:
        try:
            page, length = _header(raw, at)
        except _Damaged:
            break
        kind, size, packed = _number(page, 1), _number(page, 2), _number(page, 3)
        if size < 0 or packed < 0:
            break
        data_header = page.get(5) or page.get(8) or {}
        encoding = _number(data_header, 2 if 5 in page else 4)
        values += _number(data_header, 1)
        if kind == _DICTIONARY:
            dictionary = max(dictionary, size)
        else:
            data = max(data, size)
            sharing = max(sharing, size if encoding == _SHARING else 0)
        at, pages = at + length + packed, pages + 1
    # One row may hold a list of any length.
    if pages == _MOST_PAGES or values > max(64 * chunk.rows, 1_000_000):
        raise BadPage
    return data + dictionary, dictionary + sharing


def _header(raw: BinaryIO, at: int) -> tuple[dict[int, object], int]:
    for most in (_HEADER, _LONGEST_HEADER):
        raw.seek(at)
        reader = _Compact(raw.read(most))
        try:
            return reader.struct(0), reader.at
        except IndexError:
            if len(reader) < most:
                raise _Damaged from None  # the file ends here
    raise BadPage


def _number(fields: object, key: int) -> int:
    found = fields.get(key, 0) if isinstance(fields, dict) else 0
    return found if isinstance(found, int) else 0


class _Compact:
    """Thrift's compact protocol, as far as headers of pages need it. Raises IndexError at the end of the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def __len__(self) -> int:
        return len(self._content)

    def struct(self, depth: int) -> dict[int, object]:
        """Its fields by their numbers: whole numbers, and structures; of the rest only the place is known."""
        if depth > _DEEPEST:
            raise BadPage
        fields: dict[int, object] = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if kind in (_TRUE, _FALSE):
            return None
        if _BYTE < kind < _DOUBLE:
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip(1 if kind == _BYTE else 8 if kind == _DOUBLE else self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            self._each((head & 15,), self._varint() if head >> 4 == 15 else head >> 4, depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._each((kinds >> 4, kinds & 15), count, depth)
        else:
            raise _Damaged
        return None

    def _each(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        """Pass over the members of a list or a map. No header that we use has one; each takes a byte at least."""
        if depth > _DEEPEST:
            raise BadPage
        for _ in range(count):
            for kind in kinds:
                self._value(_BYTE if kind in (_TRUE, _FALSE) else kind, depth + 1)

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self._content):
            raise IndexError

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _varint(self) -> int:
        found = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise _Damaged

    def _zigzag(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)
