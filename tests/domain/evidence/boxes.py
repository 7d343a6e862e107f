"""Evidence of an invented batch, and what a person can do to the file."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from worker.domain.evidence import container
from worker.domain.evidence.making import make
from worker.domain.evidence.records import RECORDS, record
from worker.domain.evidence.verifying import Verified, verify
from worker.foundation.keyring import new_key
from worker.foundation.signing import SigningKey, VerifyingKey

KEY = SigningKey(new_key())
EMPTY = {"string": "", "integer": 0, "boolean": False}
TIMES = {"created_at": "2026-11-20T12:00:00.000000Z"}


def a_record(kind: str, **fields: Any) -> dict[str, Any]:
    """A record of this kind, whose other fields are empty."""
    given: dict[str, Any] = {}
    for name, schema in RECORDS[kind][1].items():
        type_ = schema.get("type")
        given[name] = EMPTY.get(type_) if isinstance(type_, str) else None
    return record(kind, **{**given, **fields})


def records(customers: int = 40) -> list[dict[str, Any]]:
    found = [a_record("batch", batch=7, name="käufer.csv", sha256="ab" * 32, generation=1, **TIMES)]
    found.append(a_record("decision", at="2026-11-20T12:00:00.000000Z", actor="ada", action="run", subject="batch 7"))
    for n in range(customers):
        found.append(a_record("customer", row=n + 2, customer_id=f"=C-{n}", state="invited", consent=True, sessions=1))
        found.append(a_record("call", **{"for": "session"}, account="kyc", outcome="done", status=201))
        found.append(a_record("session", session=1, account="kyc", reference=f"ref-{n}", state="waiting"))
        found.append(a_record("message", id=f"{n:032x}", session=1, channel="email", state="sent", template="ab12"))
    found.append(a_record("refused", row=99, state="rejected", reason="email: 4 characters without an @"))
    return found


def made(customers: int = 40, *, key: SigningKey = KEY, part_bytes: int = 1 << 30) -> bytes:
    out = io.BytesIO()
    make(out, records(customers), key, part_bytes=part_bytes)
    return out.getvalue()


def verified(content: bytes, key: VerifyingKey | None = None) -> Verified:
    return verify(io.BytesIO(content), key)


def contents(content: bytes) -> dict[str, bytes]:
    """The files in it, as any other program reads them."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed_again(files: Mapping[str, bytes]) -> bytes:
    """A container in the right form, with good checksums: what only the digests and the signature can find out."""
    out = io.BytesIO()
    writer = container.Writer(out)
    for name, content in files.items():
        writer.add(name, content)
    writer.close()
    return out.getvalue()


def changed(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    files = contents(content)
    return packed_again({**files, name: change(files[name])})


def with_lines(content: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return changed(content, "evidence-0001.jsonl", lambda text: b"".join(change(text.splitlines(keepends=True))))


@cache  # takes a second
def bomb() -> bytes:
    """A part of 2 GB, of which the file holds 2 MB."""
    out = io.BytesIO()
    writer = container.Writer(out)
    for name in (container.README, container.SCHEMA):
        writer.add(name, b"x")
    writer.stream(container.part_name(1), (bytes(1 << 20) for _ in range(150)))
    return out.getvalue() + b"PK"


def zipped(*names: str) -> bytes:
    """These files, in the right form but for their names."""
    out = io.BytesIO()
    writer = container.Writer(out)
    for name in names:
        writer.add(name, b"x")
    writer.close()
    return out.getvalue()


def with_header(content: bytes, offset: int, form: str, value: int) -> bytes:
    """The first header with another value. `offset`: as the format of ZIP files counts."""
    return content[:offset] + struct.pack(form, value) + content[offset + struct.calcsize(form) :]
