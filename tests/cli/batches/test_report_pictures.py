"""`onboard report --with-links --qr`: each link as a picture, for letters."""

import csv
import stat
import zlib
from pathlib import Path

import pytest
import segno

from tests.desk.desk import Desk
from worker.engine.reporting import qr_pictures
from worker.engine.reporting.qr_pictures import BORDER, SCALE, picture

LIST = "customer_id,email,channel\nA-1,one@example.com,\nA-2,nobody,\nA-3,,none\n"
LINK = "https://verify.example.com/onboarding/s/0123456789abcdefABCDEF-_"


@pytest.fixture
def ran(desk: Desk) -> Desk:
    assert desk.onboard("run", desk.write("list.csv", LIST)).code == 1
    return desk


def squares(png: bytes) -> list[list[bool]]:
    """The squares of a picture, dark or light, without its border. The picture has one bit for each pixel."""
    assert png.startswith(b"\x89PNG")
    at, data, width = 8, b"", 0
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        content = png[at + 8 : at + 8 + length]
        width = int.from_bytes(content[:4]) if kind == b"IHDR" else width
        data += content if kind == b"IDAT" else b""
        at += 12 + length
    raw, line = zlib.decompress(data), (width + 7) // 8 + 1
    rows: list[bytes] = []
    for start in range(0, len(raw), line):
        filtered, content = raw[start], raw[start + 1 : start + line]
        assert filtered in (0, 2)  # as it is, or what has changed since the line above
        rows.append(content if filtered == 0 else bytes((a + b) % 256 for a, b in zip(content, rows[-1], strict=True)))
    bits = [[not row[x // 8] >> (7 - x % 8) & 1 for x in range(width)] for row in rows]
    middle = slice(BORDER * SCALE + SCALE // 2, -BORDER * SCALE, SCALE)
    return [row[middle] for row in bits[middle]]


def test_each_link_is_a_picture_that_holds_it(ran: Desk):
    ended = ran.onboard("report", "latest", "--out", "letters.csv", "--with-links", "--qr")
    assert ended.code == 0, ended.err
    with (ran.path / "letters.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))

    assert [line["qr"] for line in lines] == ["letters-qr/2.png", "", "letters-qr/4.png"]
    assert sorted(path.name for path in (ran.path / "letters-qr").iterdir()) == ["2.png", "4.png"]
    for line in (lines[0], lines[2]):
        drawn = segno.make_qr(line["link"], error="m", boost_error=False).matrix
        assert squares((ran.path / line["qr"]).read_bytes()) == [[bool(one) for one in row] for row in drawn]
    assert stat.S_IMODE((ran.path / "letters-qr").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (ran.path / "letters-qr").iterdir()} == {0o600}
    noted = ran.sql("SELECT subject, reason FROM audit WHERE action = 'report'")
    assert noted == [("batch 1", "with links, as QR pictures too")]

    # Pictures of another report are never mixed with these.
    again = ran.onboard("report", "latest", "--out", "letters.csv", "--with-links", "--qr")
    assert (again.code, "letters-qr is there already" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--qr"], "--qr needs --with-links and --out FILE"),
        (["--qr", "--with-links"], "--qr needs --with-links and --out FILE"),
        (["--qr", "--out", "a.csv"], "--qr needs --with-links and --out FILE"),
        (["--qr", "--with-links", "--out", "a.html"], "--qr is for CSV, XLSX and JSON lines"),
    ],
)
def test_pictures_are_refused_where_they_cannot_be_named(bare: Desk, options: list[str], why: str):
    ended = bare.onboard("report", "latest", *options)

    assert (ended.code, why in ended.err) == (2, True)


def test_the_folder_goes_again_when_the_report_is_not_written(tmp_path: Path):
    folder = tmp_path / "letters-qr"

    def fail() -> None:
        with qr_pictures.new_folder(folder):
            (folder / "2.png").write_bytes(b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not folder.exists()


def test_a_picture_is_made_for_the_printer():
    """A stable link fits the size that a letter has room for."""
    assert len(squares(picture(LINK))) <= 37


def test_without_the_library_it_says_what_to_install(bare: Desk, monkeypatch: pytest.MonkeyPatch):
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(qr_pictures, "find_spec", nothing)

    assert not qr_pictures.is_possible()
