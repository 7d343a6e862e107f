"""Writes Parquet files that no library writes: their footer says what the test wants."""

import struct


def whole(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    left, written = (number << 1) ^ (number >> 63), b""
    while left > 127:
        written, left = written + bytes([left & 127 | 128]), left >> 7
    return written + bytes([left])


def length(number: int) -> bytes:
    """A length, which has no sign."""
    return whole(number // 2 if not number % 2 else -(number // 2) - 1)


def fields(given: dict[int, object]) -> bytes:
    """A structure by the numbers of its fields: (int,) is of 64 bits, int of 32."""
    written, before = b"", 0
    for number, value in given.items():
        kind, content = _value(value)
        written, before = written + bytes([(number - before) << 4 | kind]) + content, number
    return written + b"\0"


def listed(members: list[object], *, says: int | None = None) -> bytes:
    """A list; `says`: how many members it says it has."""
    kinds = [_value(member) for member in members]
    kind = kinds[0][0] if kinds else 12
    return bytes([0xF0 | kind]) + length(len(members) if says is None else says) + b"".join(one for _, one in kinds)


def _value(value: object) -> tuple[int, bytes]:
    match value:
        case int():
            return 5, whole(value)
        case (int(),):
            return 6, whole(value[0])
        case str():
            return 8, length(len(value)) + value.encode()
        case list():
            return 9, listed(value)
        case bytes():  # a list, as `listed` writes it
            return 9, value
        case dict():
            return 12, fields(value)
    raise TypeError(type(value))


IDS = {1: 6, 3: 1, 4: "customer_id", 6: 0}
TAGS = [{3: 1, 4: "tags", 5: 1, 6: 3}, {3: 2, 4: "list", 5: 1}, {1: 6, 3: 1, 4: "element", 6: 0}]


def a_file(pages: bytes, columns: list[object], groups: bytes | list[object], *, rows: int) -> bytes:
    """A whole file. `columns`: those of the schema, without its root."""
    top = sum(1 for column in columns if column is IDS or column is TAGS[0])
    footer = fields({1: 2, 2: [{4: "schema", 5: top}, *columns], 3: (rows,), 4: groups})
    return b"PAR1" + pages + footer + struct.pack("<I", len(footer)) + b"PAR1"


def chunk(path: list[object], *, at: int, size: int, values: int) -> dict[int, object]:
    """One column in a group of rows."""
    return {2: (at,), 3: {1: 6, 2: [0, 3], 3: path, 4: 0, 5: (values,), 6: (size,), 7: (size,), 9: (at,)}}


def page(values: int, content: bytes) -> bytes:
    """A page of values that are not in a dictionary."""
    return fields({1: 0, 2: len(content), 3: len(content), 5: {1: values, 2: 0, 3: 3, 4: 3}}) + content


def levels(*runs: tuple[int, int]) -> bytes:
    """Levels as runs: how many, and which."""
    written = b"".join(length(count << 1) + bytes([level]) for count, level in runs)
    return struct.pack("<I", len(written)) + written
