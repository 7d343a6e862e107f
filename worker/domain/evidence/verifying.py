"""Checks evidence, offline: what was changed, in which file and line. Memory stays flat, whatever the file is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import zip_longest
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO

from worker.domain.evidence import container
from worker.domain.evidence.chain import LONGEST_LINE, ChainReader
from worker.domain.evidence.container import Member, Refused
from worker.domain.evidence.manifest import Content, content_digest, line_digests, manifest_of
from worker.domain.evidence.summary import COLUMNS, csv_line, line_of
from worker.domain.model.findings import Checked
from worker.foundation.signing import VerifyingKey, read_public_key
from worker.foundation.strict_json import read_object

_SHORT = (container.README, container.SCHEMA, container.HTML)


@dataclass
class Verified(Checked):
    """What was found. `problems` name the file and the line.

    `key_id`: of the key in the file; "" if it cannot be read. `pinned`: whether it was compared with a key that was
    kept elsewhere. `batch`: None if it cannot be read.
    """

    batch: int | None = None
    records: int = 0
    head: str = ""
    content: str = ""
    key_id: str = ""
    pinned: bool = False


def verify(raw: BinaryIO, key: VerifyingKey | None = None) -> Verified:
    """Check the file. `key`: the one that was kept elsewhere; None: the file is checked with the key in it."""
    found = Verified(pinned=key is not None)
    try:
        members = container.read_layout(raw)
    except Refused as error:
        found.add(str(error))
        return found
    *covered, _, _, _ = members
    checked = _Checked(raw, found)
    covered = [checked.read(member) for member in covered]
    manifest, signature, pem = (checked.short(member) for member in members[-3:])
    _check_signature(found, covered, checked, (manifest, signature, pem), key)
    return found


class _Checked:
    """Reads the files, and keeps of them what the manifest says of them."""

    def __init__(self, raw: BinaryIO, found: Verified) -> None:
        self._raw, self._found = raw, found
        self.chain = ChainReader()
        self.first: Mapping[str, Any] = {}
        self.lines: dict[str, list[str]] = {}
        self._expected: IO[bytes] = TemporaryFile()  # noqa: SIM115 -- closed once the table was compared
        self._expected.write(csv_line(COLUMNS))
        self._whole = True

    def short(self, member: Member) -> bytes:
        try:
            return b"".join(container.chunks_of(self._raw, member))
        except Refused as error:
            self._found.add(str(error))
            return b""

    def read(self, member: Member) -> Member:
        """The member with the digests of its content."""
        packed = container.packed_digest(self._raw, member)
        if member.name in _SHORT:
            content = self.short(member)
            self.lines[member.name] = line_digests(content)
            return replace(member, packed=packed, sha256=sha256(content).hexdigest())
        digest = sha256()
        before = len(self._found.problems)
        lines = _lines(_digested(container.chunks_of(self._raw, member), digest.update))
        number = 0
        try:
            if container.is_part(member.name):
                for number, line in enumerate(lines, start=1):
                    self._record(member.name, number, line)
            else:
                for number, differs in enumerate(self._compared(lines), start=1):
                    if differs:
                        self._found.add(f"{member.name} line {number:,} does not fit the records")
        except Refused as error:
            self._found.add(f"{error}; line {number + 1:,} and those after it cannot be read")
        self._whole = self._whole and len(self._found.problems) == before
        return replace(member, packed=packed, sha256=digest.hexdigest())

    def _record(self, name: str, number: int, line: bytes) -> None:
        read = self.chain.read(line)
        if read.problem:
            self._found.add(f"{name} line {number:,}: {read.problem}")
            return
        self.first = self.first or read.record
        try:
            expected = line_of(read.record)
        except (KeyError, TypeError):
            self._found.add(f"{name} line {number:,}: a record without the fields of its type")
            return
        if expected is not None:
            self._expected.write(expected)

    def _compared(self, lines: Iterator[bytes]) -> Iterator[bool]:
        """Of each line of the table, whether it is another one than the records say. Only whole records say it."""
        self._expected.seek(0)
        with self._expected as expected:
            for one, other in zip_longest(lines, expected if self._whole else ()):
                yield self._whole and one != other


def _digested(chunks: Iterator[bytes], update: Any) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines with their ends. A line that is too long comes cut, and is longer than LONGEST_LINE."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _check_signature(
    found: Verified,
    members: list[Member],
    checked: _Checked,
    last: tuple[bytes, bytes, bytes],
    pinned: VerifyingKey | None,
) -> None:
    manifest, signature, pem = last
    found.records, found.head, found.content = checked.chain.number, checked.chain.head, content_digest(members)
    batch = checked.first.get("batch")
    found.batch = batch if type(batch) is int else None
    try:
        inside: VerifyingKey | None = read_public_key(pem)
    except ValueError:
        inside = None
    if inside is None or inside.pem != pem:
        found.add(f"{container.KEY}: not the key as it was written")
    found.key_id = inside.id if inside is not None else ""
    key = pinned or inside
    if key is None:
        return
    if pinned is not None and inside is not None and inside.id != pinned.id:
        found.add(f"{container.KEY}: it is the key {inside.id}, not the key {pinned.id} that you gave")
    named = read_object(manifest)
    if isinstance(named, dict) and named.get("key") != key.id:
        found.add(
            f"{container.KEY}, or {container.MANIFEST}: another key than {key.id} is named there as the one that signs"
        )
    facts = Content(batch, checked.first.get("name"), found.records, found.head, key.id)
    rebuilt = manifest_of(facts, members, checked.lines)
    if key.has_signed(signature, manifest):
        _compare(found, manifest, members, checked)
        if manifest != rebuilt and found.is_whole:
            found.add(f"{container.MANIFEST}: it does not fit the files, {_where(manifest, rebuilt)}")
    elif key.has_signed(signature, rebuilt):
        found.add(f"{container.MANIFEST} was changed, {_where(manifest, rebuilt)}")
    elif manifest == rebuilt:
        found.add(f"{container.SIGNATURE} was changed, or another key than {key.id} has signed")
    else:
        found.add(f"{container.MANIFEST}, {_where(manifest, rebuilt)}: it was changed, or another key has signed it")


def _where(found: bytes, expected: bytes) -> str:
    """The first line in which two texts differ."""
    pairs = zip_longest(found.split(b"\n"), expected.split(b"\n"))
    return f"line {next(number for number, (one, other) in enumerate(pairs, start=1) if one != other):,}"


def _compare(found: Verified, manifest: bytes, members: list[Member], checked: _Checked) -> None:
    """Compare the files with the manifest, which is signed."""
    facts = read_object(manifest)
    listed = facts.get("files") if isinstance(facts, dict) else None
    files = {one.get("name"): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
    if list(files) != [member.name for member in members]:
        found.add(f"the files are not those of {container.MANIFEST}: one was added, removed or moved")
        return
    for member in members:
        said = files[member.name]
        if said.get("sha256") != member.sha256:
            where = ""
            if member.name in checked.lines:
                before = str(said.get("lines", "")).split(" ")
                pairs = zip_longest(checked.lines[member.name], before)
                differs = (number for number, (one, other) in enumerate(pairs, start=1) if one != other)
                where = f" in line {next(differs, 0):,}"
            found.add(f"{member.name} was changed{where}")
        elif said.get("packed_sha256") != member.packed:
            found.add(f"{member.name}: its compressed bytes were changed")
