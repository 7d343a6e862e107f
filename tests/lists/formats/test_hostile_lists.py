"""Lists that are made to harm: each is refused or rejected by name, in bounded memory and time."""

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from onboarding_worker.lists.columns import MOST_COLUMNS
from onboarding_worker.lists.lines import AcceptedLine, ListRefused, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY
from tests.lists.formats.files import zipped

MEGABYTE = 1 << 20
FAR_LARGER = "decompressed it is more than 200 times as large, or more than 4 GB"


class Endless(io.RawIOBase):
    """A file of `size` bytes: a beginning, and then one byte again and again. Nothing of it is kept."""

    def __init__(self, beginning: bytes, filling: bytes, size: int) -> None:
        self._beginning, self._filling, self._size, self._at = beginning, filling * MEGABYTE, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        count = min(len(into), self._size - self._at, MEGABYTE)
        if self._at < len(self._beginning):
            count = min(count, len(self._beginning) - self._at)
            into[:count] = self._beginning[self._at : self._at + count]
        else:
            into[:count] = self._filling[:count]
        self._at += count
        return count


def endless(beginning: bytes, filling: bytes = b"x", size: int = 5 * MEGABYTE) -> io.BufferedReader:
    return io.BufferedReader(Endless(beginning, filling, size), 1 << 16)


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_line_without_an_end_is_named_and_not_kept(subtests):
    cases = [
        (b"x", "the header has more than 131,072 characters"),
        (b"customer_id,email\nA1,", "the row has more than 1,048,576 characters"),
        (b'customer_id,email\nA1,"', "the row has more than 1,048,576 characters"),
        (b'{"customer_id": "', "the line has more than 1,048,576 bytes"),
        (b'[{"customer_id": "', "the object has more than 1,048,576 bytes"),
        (b"[{", "the object has more than 1,048,576 bytes"),
    ]
    for content, reason in cases:
        with subtests.test(content=content):
            with at_most(16):
                try:
                    lines = list(open_list(endless(content), ListOptions(today=TODAY)))
                    found = lines[0].problems[0].problem
                except ListRefused as refused:
                    found = refused.reasons[0]
            assert reason in found


@pytest.mark.parametrize("count", [MOST_COLUMNS + 1, 30_000])
def test_a_header_with_too_many_columns_is_refused_by_their_number(refusal, count):
    titles = ["a"] * count
    assert f"the header has {count:,} columns, more than 1,000" in refusal(",".join(titles) + "\n1\n")


def test_at_most_twenty_unknown_columns_are_named(refusal):
    reasons = refusal("customer_id," + ",".join(f"x{n}q" for n in range(200)) + "\nA1\n").splitlines()
    assert len(reasons) == 21
    assert reasons[-1] == "and 180 more columns like these"


def test_a_compressed_bomb_is_refused_as_a_whole(refusal):
    for pack in (gzip.compress, lambda content: zipped({"list.csv": content})):
        content = pack(bytes(70 * MEGABYTE))
        with at_most(16):
            assert FAR_LARGER in refusal(content)


def test_a_zip_file_with_a_huge_directory_is_refused_unread(refusal):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("list.csv", "customer_id\nA1\n")
    content = bytearray(out.getvalue())
    struct.pack_into("<I", content, content.rindex(b"PK\x05\x06") + 12, 2_000_000_000)
    assert "it holds too many files" in refusal(bytes(content))


def test_formulas_and_signs_that_turn_text_around_are_harmless(read):
    texts = (
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://evil.example","x")',
        "ann\u202egro.elpmaxe",
        "an\x00n",
        "\u2066x",
    )
    rows = [("customer_id", "channel", "first_name"), *((f"A{n}", "none", text) for n, text in enumerate(texts))]
    lines = read("\n".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows))
    assert [type(line) for line in lines] == [AcceptedLine, AcceptedLine, RefusedLine, RefusedLine, RefusedLine]
    assert lines[2].problems[0].problem == "it contains an invisible character: U+202E RIGHT-TO-LEFT OVERRIDE"


@pytest.mark.parametrize(
    "address", ["ann@exаmple.com", "ann@ｅxample.com", "ann@exam\u200bple.com", "ann@example.com\u202e"]
)
def test_an_address_of_a_look_alike_domain_is_refused_or_shown_as_what_it_is(read, address):
    (line,) = read(f"customer_id,email\nA1,{address}\n")
    assert isinstance(line, RefusedLine) or line.customer.person.email.isascii()
