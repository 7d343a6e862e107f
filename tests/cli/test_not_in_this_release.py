"""The README's list of what is not in this release: each thing on it is missing, and says so."""

import gzip
import io
import json
import zipfile

import pytest

from tests.deploy.compose_file import ROOT
from tests.desk.desk import Desk

README = (ROOT / "README.md").read_text("utf-8").partition("Not in this release")[2]


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "customer_id,email")
    return buffer.getvalue()


LISTS: dict[str, tuple[str, bytes, str]] = {
    ".xlsx": ("list.xlsx", zipped("xl/workbook.xml"), "CSV"),
    ".zip": ("list.zip", zipped("list.csv"), ""),
    ".gz": ("list.csv.gz", gzip.compress(b"customer_id,email"), "decompress it"),
    ".parquet": ("list.parquet", b"PAR1", "CSV"),
    "JSON array": ("list.json", json.dumps([{"customer_id": "C-1", "email": "a@example.com"}]).encode(), ""),
}


@pytest.mark.parametrize("what", LISTS)
def test_a_list_in_another_form_is_refused_with_what_to_do(desk: Desk, what: str):
    name, content, hint = LISTS[what]
    (desk.path / name).write_bytes(content)
    ended = desk.onboard("check", name)
    assert what in README
    assert (ended.code, hint in ended.err) == (2, True)
