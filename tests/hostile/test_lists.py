"""Files that are no list, and lists made to cost time or memory: refused with a reason, or read row by row."""

import io
import resource
import zipfile
from datetime import date

from onboarding_worker.lists.lines import AcceptedLine, ListRefused
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions

HEAD = b"customer_id,email,first_name\n"
GOOD = b"A%d,a%d@example.com,Ann\n"
MOST_MEMORY = 100_000_000  # more than the process had before


def memory() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rows(count: int, row: bytes = GOOD) -> bytes:
    return b"".join(row % (number, number) for number in range(count))


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", b"0" * 10_000_000)
    return out.getvalue()


def line(text: str) -> bytes:
    return b'{"customer_id": "A1", "channel": "none"' + text.encode() + b"}\n"


# Each: the bytes, and how many rows are accepted and rejected; None where the file is refused as a whole.
CSV: dict[str, tuple[bytes, tuple[int, int] | None]] = {
    "a good one": (HEAD + rows(3), (3, 0)),
    "a quote that is open for 5 MB": (HEAD + b'A,"' + b"x" * 5_000_000 + b"\n" + rows(3), (3, 1)),
    "30,000 quotes that are never closed": (HEAD + b'"A,b\n' * 30_000 + rows(1), (1, 30_000)),
    "200,000 empty rows": (HEAD + b"\n" * 200_000 + rows(1), (1, 0)),
    "a row of 200,000 cells": (HEAD + b"," * 200_000 + b"x\n" + rows(1), (1, 1)),
    "a header of 5,000 columns": (b",".join(b"c%d" % number for number in range(5000)) + b"\n1\n", None),
    "a column twice": (b"customer_id,email,email\nA,a@example.com,b@example.com\n", None),
    "a column in two letter cases": (b"customer_id,email,EMAIL\nA,a@example.com,b@example.com\n", None),
    "NULs in a row": (HEAD + b"A\0,\0,\0\n" + rows(1), (1, 1)),
    "nothing but NULs": (b"\0" * 100_000, None),
    "a line of 20 MB": (b"customer_id,channel\n" + b"x" * 20_000_000 + b"\nA1,none\n", (1, 1)),
    "overlong UTF-8": (HEAD + b"\xc0\xaf,\xc1\x81@example.com,x\n" + rows(1), None),
    "a sheet": (workbook(), None),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", None),
    "a program": (b"\x7fELF\x02\x01\x01" + b"\0" * 64, None),
    "a web page": (b"<!DOCTYPE html><html><body>customer_id</body></html>", None),
    "an external entity": (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        None,
    ),
    "a mail address for an id": (b"customer_id,channel\nona@example.com,none\nA1,none\n", (1, 1)),
    "10,000 times the same id": (HEAD + b"A1,a@example.com,Ann\n" * 10_000, (1, 9_999)),
    "a name of 100,000 marks": (HEAD + b"A1,a@example.com," + "a\u0301".encode() * 50_000 + b"\n" + rows(1), (1, 1)),
}
JSONL: dict[str, tuple[bytes, tuple[int, int] | None]] = {
    "an object 100,000 deep": (line(', "x": ' + "[" * 100_000 + "]" * 100_000) + line(""), (1, 1)),
    "a key twice": (line(', "email": "a@example.com", "email": "b@example.com"') + line(""), (1, 1)),
    "a number of 10,000 digits": (line(', "phone": ' + "1" * 10_000) + line(""), (1, 1)),
    "infinity": (line(', "phone": Infinity') + line(""), (1, 1)),
    "a line of 20 MB": (line(', "x": "' + "a" * 20_000_000 + '"') + line(""), (1, 1)),
    "half a surrogate pair": (line(r', "first_name": "\ud800"') + line(""), (1, 1)),
    "the prototype": (line(', "__proto__": {"account": "other"}') + line(""), (1, 1)),
    "an array of 100,000": (b"[" + b"{}," * 100_000 + b"{}]", None),
    "a column of 10,000 letters": (line(f', "{"a" * 10_000}": 1') + line(""), (1, 1)),
}
CASES = {f"CSV: {what}": (*case, "csv") for what, case in CSV.items()}
CASES |= {f"JSON lines: {what}": (*case, "jsonl") for what, case in JSONL.items()}


def test_a_hostile_list_is_refused_or_read_row_by_row_in_bounded_memory(subtests):
    for what in CASES:
        with subtests.test(case=what):
            content, counts, form = CASES[what]
            options = ListOptions(today=date(2026, 11, 20), form=form)
            before = memory()

            try:
                accepted = rejected = 0
                for one in open_list(io.BytesIO(content), options):
                    accepted, rejected = (
                        (accepted + 1, rejected) if isinstance(one, AcceptedLine) else (accepted, rejected + 1)
                    )
                found = (accepted, rejected)
            except ListRefused as refused:
                found, reason = None, " ".join(refused.reasons)
                assert reason
                assert len(reason) < 2000
                assert "passwd" not in reason

            assert found == counts
            assert memory() - before < MOST_MEMORY
