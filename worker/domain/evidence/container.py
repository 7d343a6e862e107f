"""A ZIP file in one form only, written and read as a stream.

Any program can open it. It has no second form: names and their order are known, there are no dates, comments, extra
fields or gaps, and the directory at the end says again what the headers say. So the reader needs no tolerance, and what
an attacker puts into a ZIP file (names with .., a name twice, millions of names, files that overlap, a bomb) has no
place in it. A byte that is changed anywhere breaks the form, or the content of a file.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, BinaryIO

from worker.foundation.signing import SIGNATURE_BYTES

HEADER, DIRECTORY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_HEADER = struct.Struct("<4s5H3I2H")
_DIRECTORY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
VERSION, FLAGS, TIME, DATE = 20, 0, 0, 0x21  # 1 January 1980: the first day that a ZIP file knows
MADE_BY = 3 << 8 | VERSION  # Unix, for the rights below
RIGHTS = 0o100644 << 16
STORED, DEFLATED = 0, 8
CHUNK = 1 << 16
LARGEST_FILE = (1 << 32) - 1  # bytes, of the whole
LARGEST = 3 << 30  # bytes of a file in it, decompressed
MOST_TIMES, SMALL = 100, 1 << 20  # ours are compressed 3 to 20 times
PARTS = 9999

README, SCHEMA, CSV, HTML = "README.txt", "schema.json", "summary.csv", "summary.html"
MANIFEST, SIGNATURE, KEY = "manifest.json", "manifest.sig", "public-key.pem"
_PART = re.compile(r"evidence-([0-9]{4})\.jsonl")
# What the manifest and its signature hold is short, and is not compressed.
_LAST = (MANIFEST, SIGNATURE, KEY)
_LIMITS = {README: 1 << 16, SCHEMA: 1 << 18, HTML: 1 << 20, MANIFEST: 1 << 23, SIGNATURE: SIGNATURE_BYTES, KEY: 4096}


def part_name(number: int) -> str:
    return f"evidence-{number:04}.jsonl"


def is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None


class Refused(Exception):
    """The file has not the form of evidence. The text says where, and holds nothing of the file."""


@dataclass(frozen=True)
class Member:
    """A file in the container. `at`: where its bytes begin. `packed`: SHA-256 of them as they are there."""

    name: str
    method: int
    at: int
    size: int
    packed_size: int
    crc: int
    packed: str = ""
    sha256: str = ""

    @property
    def header_at(self) -> int:
        return self.at - _HEADER.size - len(self.name)


class Writer:
    """Writes one container, to a file that can be sought in."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.members: list[Member] = []

    def add(self, name: str, content: bytes) -> Member:
        return self.stream(name, iter((content,)))

    def stream(self, name: str, chunks: Iterator[bytes]) -> Member:
        """Write a file of any length. Raises Refused if it is too large."""
        out, method = self._out, STORED if name in _LAST else DEFLATED
        start = out.tell()
        out.write(bytes(_HEADER.size) + name.encode())
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        content, packed, crc, size, packed_size = sha256(), sha256(), 0, 0, 0
        for chunk in chunks:
            content.update(chunk)
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            piece = chunk if method == STORED else packer.compress(chunk)
            packed.update(piece)
            packed_size += out.write(piece)
        if method == DEFLATED:
            piece = packer.flush()
            packed.update(piece)
            packed_size += out.write(piece)
        if size > LARGEST or out.tell() > LARGEST_FILE - (1 << 24):
            raise Refused("the evidence is larger than 4 GB: make it of smaller batches")
        at = start + _HEADER.size + len(name)
        member = Member(name, method, at, size, packed_size, crc, packed.hexdigest(), content.hexdigest())
        self.members.append(member)
        out.seek(start)
        out.write(_header(member))
        out.seek(0, 2)
        return member

    def close(self) -> None:
        self._out.write(_tail(self.members))


def _header(member: Member) -> bytes:
    facts = (VERSION, FLAGS, member.method, TIME, DATE, member.crc, member.packed_size, member.size)
    return _HEADER.pack(HEADER, *facts, len(member.name), 0) + member.name.encode()


def _tail(members: Sequence[Member]) -> bytes:
    """The directory, and the end."""
    entries = b"".join(
        _DIRECTORY.pack(
            *(DIRECTORY, MADE_BY, VERSION, FLAGS, member.method, TIME, DATE, member.crc, member.packed_size),
            *(member.size, len(member.name), 0, 0, 0, 0, RIGHTS, member.header_at),
        )
        + member.name.encode()
        for member in members
    )
    at = members[-1].at + members[-1].packed_size
    return entries + _END.pack(END, 0, 0, len(members), len(members), len(entries), at, 0)


def read_layout(raw: BinaryIO) -> list[Member]:
    """The files of a container. Nothing is decompressed. Raises Refused where the form is not ours."""
    length = raw.seek(0, 2)
    if length > LARGEST_FILE:
        raise Refused("the file is larger than any evidence (4 GB)")
    members: list[Member] = []
    position = 0
    while not members or members[-1].name != KEY:
        member = _member_at(raw, position, members)
        position = member.at + member.packed_size
        if position > length:
            raise Refused(f"{member.name}: the file is cut off in it")
        members.append(member)
    expected = _tail(members)
    raw.seek(position)
    found = raw.read(len(expected) + 1)
    if found != expected:
        same = next((n for n, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), -1)
        where = f"byte {position + same + 1:,}" if same >= 0 else "its end"
        raise Refused(f"the directory at the end of the file was changed, added to or cut off, at {where}")
    return members


def _member_at(raw: BinaryIO, position: int, before: Sequence[Member]) -> Member:
    raw.seek(position)
    head = raw.read(_HEADER.size)
    after = f"after {before[-1].name}" if before else "at its beginning"
    if len(head) < _HEADER.size:
        raise Refused(f"the file is cut off {after}")
    magic, *fixed, crc, packed_size, size, name_length, extra = _HEADER.unpack(head)
    if magic != HEADER:
        raise Refused(f"the file has not the form of evidence {after}")
    name = raw.read(min(name_length, 32)).decode("ascii", "replace")
    version, flags, method, time, date = fixed
    expected = _may_follow(before)
    if name not in expected:
        raise Refused(f"a file is missing, added, named otherwise or moved {after}: expected {' or '.join(expected)}")
    wanted = STORED if name in _LAST else DEFLATED
    if (version, flags, method, time, date, extra) != (VERSION, FLAGS, wanted, TIME, DATE, 0):
        raise Refused(f"{name}: the header in the ZIP file was changed")
    if size > _LIMITS.get(name, LARGEST) or size > max(SMALL, MOST_TIMES * packed_size):
        raise Refused(f"{name}: it says that it is {size:,} bytes long, more than it can be")
    if method == STORED and size != packed_size:
        raise Refused(f"{name}: the header in the ZIP file was changed")
    return Member(name, method, position + _HEADER.size + len(name), size, packed_size, crc)


def _may_follow(before: Sequence[Member]) -> tuple[str, ...]:
    """The names that may come next. There is at least one part of the evidence."""
    last = before[-1].name if before else ""
    found = _PART.fullmatch(last)
    if found:
        number = int(found[1])
        return (CSV,) if number == PARTS else (part_name(number + 1), CSV)
    order = ("", README, SCHEMA, part_name(1))
    if last in order:
        return (order[order.index(last) + 1],)
    rest = (CSV, HTML, MANIFEST, SIGNATURE, KEY)
    return (rest[rest.index(last) + 1],)


def chunks_of(raw: BinaryIO, member: Member) -> Iterator[bytes]:
    """The content of a file. Raises Refused where it cannot be decompressed or is not as long as its header says."""
    raw.seek(member.at)
    left, size, crc = member.packed_size, 0, 0
    unpacker = zlib.decompressobj(-15) if member.method == DEFLATED else None
    while left:
        piece = raw.read(min(CHUNK, left))
        left -= len(piece)
        if not piece:
            raise Refused(f"{member.name}: the file is cut off in it")
        for chunk in (piece,) if unpacker is None else _unpacked(unpacker, piece, member.name):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if size > member.size:
                raise Refused(f"{member.name}: longer than its header says")
            yield chunk
    if unpacker is not None and not unpacker.eof:
        raise Refused(f"{member.name}: its compressed bytes were changed")
    if (size, crc) != (member.size, member.crc):
        raise Refused(f"{member.name}: its length and checksum are not as its header says")


def _unpacked(unpacker: "zlib._Decompress", piece: bytes, name: str) -> Iterator[bytes]:
    while piece:
        try:
            chunk = unpacker.decompress(piece, CHUNK)
        except zlib.error:
            raise Refused(f"{name}: its compressed bytes were changed") from None
        if chunk:
            yield chunk
        piece = unpacker.unconsumed_tail
        if unpacker.unused_data or (piece and not chunk):
            raise Refused(f"{name}: its compressed bytes were changed")


def packed_digest(raw: BinaryIO, member: Member) -> str:
    """SHA-256 of the bytes as they are in the container."""
    raw.seek(member.at)
    digest, left = sha256(), member.packed_size
    while left and (piece := raw.read(min(CHUNK, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
