"""The records of the evidence as lines, each with a hash over itself and the line before. Pure.

The file's README shows auditors how to compute it, so this must never change.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from worker.foundation.strict_json import read_object

BEFORE_THE_FIRST = "0" * 64
LONGEST_LINE = 1 << 16  # bytes; ours are shorter than 4 KB
_END = b',"hash":"%s"}\n'
_END_BYTES = len(_END) - 2 + 64


class Chain:
    """Makes the lines, in their order."""

    def __init__(self) -> None:
        self.number, self.head = 0, BEFORE_THE_FIRST

    def line(self, record: Mapping[str, Any]) -> bytes:
        """The line of the next record: its number first, its hash last."""
        self.number += 1
        text = json.dumps({"n": self.number, **record}, ensure_ascii=False, separators=(",", ":")).encode()
        self.head = _hash(self.head, text)
        return text[:-1] + _END % self.head.encode()


def _hash(before: str, text: bytes) -> str:
    return sha256(before.encode() + b"\n" + text).hexdigest()


@dataclass(frozen=True)
class Read:
    """A line that was read. `problem`: what is wrong with it and its place in the chain; "" if nothing is."""

    record: Mapping[str, Any]
    problem: str = ""


class ChainReader:
    """Reads lines in their order. One changed line is one problem, and none of the lines after it."""

    def __init__(self) -> None:
        self.number, self.head = 0, BEFORE_THE_FIRST
        self._unreadable_before = False

    def read(self, line: bytes) -> Read:
        if len(line) > LONGEST_LINE:
            return self._unreadable("longer than any line of evidence")
        found = read_object(line)
        if not isinstance(found, dict) or type(found.get("n")) is not int or type(found.get("hash")) is not str:
            return self._unreadable("no record")
        expected, self.number = self.number + 1, found["n"]
        before, self.head = self.head, found["hash"]
        after_unreadable, self._unreadable_before = self._unreadable_before, False
        if self.number > expected:
            missing = (
                f"record {expected}" if self.number == expected + 1 else f"records {expected} to {self.number - 1}"
            )
            return Read(found, f"{missing} missing before it: removed, or moved")
        if self.number < expected:
            return Read(found, f"record {self.number} in the place of {expected}: added, or moved")
        text = line[:-_END_BYTES] + b"}"
        if after_unreadable and line.endswith(_END % self.head.encode("utf-8", "replace")):
            return Read(found)  # the hash before it is not known
        if line != text[:-1] + _END % self.head.encode("utf-8", "replace") or _hash(before, text) != self.head:
            return Read(found, f"record {self.number} was changed: its hash does not fit it and the record before")
        return Read(found)

    def _unreadable(self, what: str) -> Read:
        self.number += 1
        self._unreadable_before = True
        return Read({}, what)
