"""The search of test_leaks.py finds what it looks for, however it is written, and wherever it lies."""

import base64
import json
import sqlite3
from contextlib import closing

from tests.hostile import places

WORD = "ona@example.com"
WRITTEN = {
    "as it is": f"to {WORD}: no".encode(),
    "in capitals": WORD.upper().encode(),
    "in an address": b"?email=ona%40example.com",
    "in base64": base64.b64encode(f'{{"email": "{WORD}"}}'.encode()),
    "in base64, one byte on": base64.b64encode(f'{{"email" : "{WORD}"}}'.encode()),
    "in base64, two bytes on": base64.b64encode(f'{{"email"  : "{WORD}"}}'.encode()),
    "in hexadecimal": WORD.encode().hex().encode(),
    "in UTF-16": WORD.encode("utf-16-le"),
}


def test_a_word_is_found_however_it_is_written():
    assert [
        (how, got)
        for how in WRITTEN
        if (got := places.hits(iter([("log", WRITTEN[how]), ("clean", b"nothing")]), ["other", WORD]))
        != ["log: word 1"]
    ] == []


def test_words_beyond_ascii_are_found_in_json():
    assert places.hits(iter([("log", json.dumps("Jos\u00e9 N\u00fa\u00f1ez").encode())]), ["N\u00fa\u00f1ez"])


def test_every_column_and_every_file_is_searched(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE job (id INTEGER, detail TEXT, sealed BLOB)")
        database.execute("INSERT INTO job VALUES (1, 'for ona@example.com', x'00'), (2, '', ?)", (WORD.encode(),))
        database.commit()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "errors.csv").write_text(WORD)
    (tmp_path / "customers.csv").write_text(WORD)

    assert places.hits(places.columns(f"sqlite:///{tmp_path / 'a.db'}"), [WORD]) == [
        "job.detail: word 0",
        "job.sealed: word 0",
    ]
    found = places.hits(places.files(tmp_path, but=["customers.csv"]), [WORD])
    assert found == ["a.db: word 0", "errors.csv: word 0"]
