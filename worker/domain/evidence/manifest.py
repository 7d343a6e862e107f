"""The manifest, which the signature covers: every file with its digests. It follows from the files alone. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from worker.domain.evidence.container import Member
from worker.domain.evidence.records import FORMAT, VERSION


@dataclass(frozen=True)
class Content:
    """What the manifest says of the records. `head`: the last hash of their chain. `key_id`: of the key that signs."""

    batch: Any
    name: Any
    records: int
    head: str
    key_id: str


def content_digest(members: Sequence[Member]) -> str:
    """One digest of all files: SHA-256 over the lines that `sha256sum` prints of them."""
    return sha256("".join(f"{member.sha256}  {member.name}\n" for member in members).encode()).hexdigest()


def line_digests(content: bytes) -> list[str]:
    """Of a short file: which line was changed can be named."""
    return [sha256(line).hexdigest()[:8] for line in content.splitlines(keepends=True)]


def manifest_of(content: Content, members: Sequence[Member], lines: Mapping[str, list[str]]) -> bytes:
    """The manifest's bytes. `lines`: the digests of the lines of short files, by their names."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "batch": content.batch,
        "name": content.name,
        "records": content.records,
        "head": content.head,
        "content": content_digest(members),
        "key": content.key_id,
        "files": [
            {
                "name": member.name,
                "bytes": member.size,
                "sha256": member.sha256,
                "packed_sha256": member.packed,
                **({"lines": " ".join(lines[member.name])} if member.name in lines else {}),
            }
            for member in members
        ],
    }
    return json.dumps(facts, ensure_ascii=False, indent=1).encode() + b"\n"
