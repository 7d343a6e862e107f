"""How much memory the pages of a Parquet file need, by the header of each page: what pyarrow will make room for.

The file's own summary says it too, and a hostile one lies. A page is decompressed as a whole. A text that is stored
once, in a dictionary, or that shares the beginning of the text before it, is made anew for each row: so how many rows
may be in memory at a time depends on these pages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeAlias

from worker.domain.intake.formats.parquet_lists import BadLevels, Lists

MOST_PAGES = 512 << 20  # bytes, decompressed: the largest page of each column in one group of rows
MOST_TEXTS = 1 << 30  # bytes that the rows in memory may grow to
MOST_ROWS = 1_000  # that are in memory at a time
# Columns and groups in the footer, of a few bytes each: pyarrow makes a thousand bytes of each.
MOST_LISTED = 200_000
_LONGEST_LIST = 1_000_000  # values
_HEADER, _LONGEST_HEADER = 8 << 10, 1 << 20
_MOST_PAGES = 1_000_000
_DEEPEST = 16
_FIRST, _DICTIONARY, _SECOND = 0, 2, 3  # types of pages
_SHARING, _PACKED_LEVELS = 7, 4  # encodings
_PLAIN = 0  # a codec: none
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_BITS = {_I16: 16, _I32: 32, _I64: 64}
# By a field's number and kind. pyarrow passes over a field of another kind, so two of one number are two fields.
_Fields: TypeAlias = dict[tuple[int, int], Any]
# By number: the fields, structures or lists of them, whose own fields are wanted.
_Wanted: TypeAlias = Mapping[int, "_Wanted"]
# By their numbers, the fields of the footer that hold what is needed: groups of rows, their columns, the facts of each.
_IN_FOOTER: _Wanted = {2: {}, 4: {1: {3: {}}}}


class Decompress(Protocol):
    """Gives the content of a page, which is of this size; None where the codec with this number is not known."""

    def __call__(self, codec: int, content: bytes, *, size: int) -> bytes | None: ...


def unknown(codec: int, content: bytes, *, size: int) -> bytes | None:
    """What knows no codec: what such a page holds is taken for the worst that it may hold."""


class BadPage(Exception):
    """The pages are too large, or too many."""


class BadFooter(Exception):
    """The footer is none, or it says what no file can have."""


class HugeFooter(Exception):
    """The footer has far more columns, or groups of rows, than a list."""


class _Damaged(Exception):
    """The header is none. pyarrow ends there too: the pages before it are read."""


@dataclass(frozen=True)
class Chunk:
    """One column in one group of rows: where its pages are, and how many rows it has."""

    start: int
    size: int
    rows: int
    codec: int = _PLAIN


@dataclass(frozen=True)
class Group:
    """A group of rows: its size in bytes, decompressed, and its columns."""

    size: int
    chunks: Sequence[Chunk]


def groups_in(footer: bytes) -> list[Group]:
    """The groups of rows that the file's footer names. Raises BadFooter and HugeFooter.

    Asked before pyarrow, which makes room for as many columns and groups as the footer says, be they there or not. It
    also ends the process where it is asked for a column whose statistics do not fit. It reads such a file well, or
    refuses it.
    """
    try:
        found = _Compact(footer).struct(0, _IN_FOOTER)
    except (IndexError, BadPage, _Damaged):
        raise BadFooter from None
    return [
        Group(
            _number(group, 2, _I64),
            [_chunk(_fields(one, 3), _number(group, 3, _I64)) for one in _listed(group, 1)],
        )
        for group in _listed(found, 4)
    ]


def _chunk(column: "_Fields", rows: int) -> Chunk:
    starts = [start for start in (_number(column, 11, _I64), _number(column, 9, _I64)) if start]
    start, size = min(starts, default=0), _number(column, 7, _I64)
    if start < 0 or size < 0 or rows < 0:
        raise BadFooter
    return Chunk(start, size, rows, _number(column, 4, _I32))


def rows_at_once(
    raw: BinaryIO, groups: Iterable[Group], depths: Sequence[int], decompress: Decompress = unknown
) -> int:
    """How many rows may be in memory at a time. Raises BadPage.

    `depths`: of each column, the highest level of its lists; 0 for one without lists.
    """
    most = 0
    for group in groups:
        largest = repeated = 0
        for chunk, depth in zip(group.chunks, depths, strict=True):
            page, again = _of_chunk(raw, chunk, depth, decompress)
            largest, repeated = largest + page, repeated + again
        if largest > MOST_PAGES:
            raise BadPage
        most = max(most, repeated)
    return max(1, min(MOST_ROWS, MOST_TEXTS // max(1, most)))


def _of_chunk(raw: BinaryIO, chunk: Chunk, depth: int = 0, decompress: Decompress = unknown) -> tuple[int, int]:
    """The bytes of its largest pages, and what one row may grow to by texts that are repeated."""
    at, end, pages = chunk.start, chunk.start + chunk.size, 0
    lists = Lists(depth) if depth else None
    values = data = dictionary = sharing = 0
    while at < end and pages < _MOST_PAGES:
        try:
            page, length = _header(raw, at)
        except _Damaged:
            break
        kind, size, packed = (_number(page, number, _I32) for number in (1, 2, 3))
        if size < 0 or packed < 0:
            break
        content, at, pages = at + length, at + length + packed, pages + 1
        stated, size = size, max(size, packed)  # pyarrow makes room for both, whatever the file has
        # By the page's type, as pyarrow does: a header may have the fields of both.
        is_second = kind == _SECOND
        data_header = _fields(page, 8 if is_second else 5)
        encoding = _number(data_header, 4 if is_second else 2, _I32)
        values += _number(data_header, 1, _I32)
        if kind == _DICTIONARY:
            dictionary = max(dictionary, size)
        else:
            data = max(data, size)
            sharing = max(sharing, size if encoding == _SHARING else 0)
        if lists and kind in (_FIRST, _SECOND):  # pyarrow passes over a page of another type
            if size > MOST_PAGES:
                raise BadPage
            raw.seek(content)
            try:
                lists.add(*_levels(page, raw.read(packed), partial(decompress, chunk.codec, size=stated)))
            except BadLevels:
                lists = None  # all values may be those of one row
    # One row may hold a list of any length.
    longest = 1 if not depth else lists.longest if lists else values
    if pages == _MOST_PAGES or values > max(64 * chunk.rows, _LONGEST_LIST) or longest > _LONGEST_LIST:
        raise BadPage
    again = (dictionary + sharing) * longest
    if depth and again > MOST_TEXTS:
        raise BadPage
    return data + dictionary, again


def _levels(page: "_Fields", packed: bytes, unpack: Callable[..., bytes | None]) -> tuple[bytes, int]:
    """The levels of a page that say where rows begin, and how many there are. Raises BadLevels."""
    if _number(page, 1, _I32) == _SECOND:
        second = _fields(page, 8)
        return packed[: max(0, _number(second, 6, _I32))], _number(second, 1, _I32)
    first = _fields(page, 5)
    content = unpack(content=packed)
    if content is None or _number(first, 4, _I32) == _PACKED_LEVELS:
        raise BadLevels
    length = int.from_bytes(content[:4], "little")
    return content[4 : 4 + length], _number(first, 1, _I32)


def _header(raw: BinaryIO, at: int) -> tuple["_Fields", int]:
    for most in (_HEADER, _LONGEST_HEADER):
        raw.seek(at)
        reader = _Compact(raw.read(most))
        try:
            return reader.struct(0), reader.at
        except IndexError:
            if len(reader) < most:
                raise _Damaged from None  # the file ends here
    raise BadPage


def _number(fields: _Fields, key: int, kind: int) -> int:
    return int(fields.get((key, kind), 0))


def _fields(fields: _Fields, key: int) -> _Fields:
    found: _Fields = fields.get((key, _STRUCT), {})
    return found


def _listed(fields: _Fields, key: int) -> list[_Fields]:
    found: list[_Fields] = fields.get((key, _LIST), [])
    return found


class _Compact:
    """Thrift's compact protocol, as far as headers of pages need it. Raises IndexError at the end of the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0
        self._listed = 0

    def __len__(self) -> int:
        return len(self._content)

    def struct(self, depth: int, wanted: _Wanted = {}) -> _Fields:  # noqa: B006 -- never changed
        """Its whole numbers and structures, and the lists of structures that are wanted; the rest is passed over."""
        if depth > _DEEPEST:
            raise BadPage
        fields: _Fields = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._zigzag(16)
            number = (number + (1 << 15)) % (1 << 16) - (1 << 15)
            inner = wanted.get(number)
            if kind == _LIST and inner is not None:
                # Whatever kind of members it says: pyarrow reads these.
                count = self._members()[1]
                self._listed += count
                if self._listed > MOST_LISTED:
                    raise HugeFooter
                fields[number, kind] = [self.struct(depth + 1, inner) for _ in range(count)]
            elif kind == _STRUCT:
                # One that comes twice is read into the same place, which is not copied: it may come a million times.
                fields.setdefault((number, kind), {}).update(self.struct(depth + 1, inner or {}))
            else:
                fields[number, kind] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (_TRUE, _FALSE):
            return None
        if kind in _BITS:
            return self._zigzag(_BITS[kind])
        if kind == _STRUCT:
            self.struct(depth + 1)
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip(1 if kind == _BYTE else 8 if kind == _DOUBLE else self._varint())
        elif kind in (_LIST, _SET):
            member, count = self._members()
            self._each((member,), count, depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._each((kinds >> 4, kinds & 15), count, depth)
        else:
            raise _Damaged
        return None

    def _members(self) -> tuple[int, int]:
        """The kind of a list's members, and their number."""
        head = self._byte()
        return head & 15, self._varint() if head >> 4 == 15 else head >> 4

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

    def _zigzag(self, bits: int) -> int:
        found = self._varint() % (1 << bits)  # as pyarrow cuts it off
        return (found >> 1) ^ -(found & 1)
