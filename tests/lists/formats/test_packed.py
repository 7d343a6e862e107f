"""Lists that were compressed with gzip or ZIP."""

import gzip
import zipfile
from itertools import product

from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY
from tests.lists.formats.files import zipped

LIST = b"customer_id,email\nA1,ann@example.com\n"
ARRAY = b'[{"customer_id": "A1", "email": "a@example.com"}]'


def test_a_compressed_list_is_read_as_what_is_inside(read, subtests):
    for pack, content in product(
        [gzip.compress, lambda content: zipped({"a/": "", "a/list": content, "__MACOSX/x": ""})],
        [LIST, LIST.decode().encode("utf-16"), ARRAY, ARRAY[1:-1]],
    ):
        with subtests.test(pack=pack, content=content):
            (line,) = read(pack(content))
            assert isinstance(line, AcceptedLine)


def test_several_gzip_files_after_each_other_are_one_list(read):
    assert [line.row for line in read(gzip.compress(LIST) + gzip.compress(b"A2,b@example.com\n"))] == [2, 3]


def test_a_list_can_be_read_again_and_its_name_may_say_what_is_inside(tmp_path):
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(LIST))
    opened = open_list(path, ListOptions(today=TODAY))
    assert [line.row for line in opened] == [line.row for line in opened] == [2]
    assert opened.warnings == ()


def encrypted():
    content = bytearray(zipped({"list.csv": LIST}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    return bytes(content)


def test_what_cannot_be_decompressed_is_refused_with_what_to_do(refusal):
    cases = [
        (gzip.compress(LIST)[:-4], "the gzip file is damaged or cut off"),
        (gzip.compress(LIST)[:-8] + b"\0" * 8, "the gzip file is damaged or cut off"),
        (gzip.compress(LIST) + b"more", "the gzip file is damaged or cut off"),
        (gzip.compress(b""), "the file is empty"),
        (gzip.compress(gzip.compress(LIST)), "compressed twice"),
        (gzip.compress(zipped({"list.csv": LIST})), "compressed twice"),
        (zipped({"list.csv.gz": gzip.compress(LIST)}), "compressed twice"),
        (zipped({"a.csv": LIST, "b.csv": LIST}), 'has 2 files ("a.csv", "b.csv"): a list is one file'),
        (zipped({f"{n}\x1b[2J": LIST for n in range(99)}), 'has 99 files ("0?[2J", "1?[2J"'),
        (zipped({"a/": ""}), "has no file"),
        (zipped({}), "an empty ZIP file"),
        (zipped({"list.csv": LIST})[:-9], "damaged or cut off"),
        (zipped({"list.csv": LIST}, zipfile.ZIP_LZMA), "compressed in an unusual way"),
        (encrypted(), "protected by a password"),
        (b"7z\xbc\xaf\x27\x1c" + LIST, "compressed (7z)"),
    ]
    found = [(reason, refusal(content)) for content, reason in cases]
    assert [(reason, got) for reason, got in found if reason not in got] == []
