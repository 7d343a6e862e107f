"""Evidence: any change of the file is found, and named; nothing in a hostile file does harm."""

import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.domain.evidence import boxes
from tests.domain.evidence.boxes import KEY, changed, contents, made, packed_again, verified, with_header, with_lines
from worker.domain.evidence import container
from worker.domain.evidence.making import make
from worker.domain.evidence.records import schema
from worker.foundation.keyring import new_key
from worker.foundation.signing import SigningKey

WHOLE = made()
PART = "evidence-0001.jsonl"


def test_evidence_as_it_was_made_is_whole_and_named_by_its_key():
    found = verified(WHOLE, KEY.public)

    assert (found.is_whole, found.batch, found.records, found.key_id) == (True, 7, 163, KEY.public.id)
    assert verified(WHOLE).is_whole


def test_the_same_records_give_the_same_bytes():
    assert made() == WHOLE
    assert made(41) != WHOLE


def test_every_record_fits_the_schema_that_is_in_the_file():
    files = contents(WHOLE)
    assert json.loads(files["schema.json"]) == schema()
    validator = Draft202012Validator(schema())

    for line in files[PART].splitlines():
        validator.validate(json.loads(line))


def test_the_readme_shows_auditors_how_to_compute_the_chain():
    files = contents(WHOLE)
    before = "0" * 64
    for line in files[PART].splitlines(keepends=True):
        text = line[:-76] + b"}"
        before = hashlib.sha256(before.encode() + b"\n" + text).hexdigest()
        assert before == json.loads(line)["hash"]

    assert b"line[:-76]" in files["README.txt"]
    assert before == json.loads(files["manifest.json"])["head"]


def test_a_table_for_a_spreadsheet_runs_no_formula():
    line = contents(WHOLE)["summary.csv"].splitlines()[1]

    assert line.startswith(b"2,'=C-0,")


@given(position=st.integers(0, len(WHOLE) - 1), bits=st.integers(1, 255))
def test_any_changed_byte_of_the_file_is_found(position: int, bits: int):
    content = bytearray(WHOLE)
    content[position] ^= bits

    assert not verified(bytes(content)).is_whole


@given(data=st.data(), name=st.sampled_from(sorted(contents(WHOLE))), bits=st.integers(1, 255))
def test_any_changed_byte_of_a_file_in_it_is_found_though_the_zip_file_was_made_anew(data, name: str, bits: int):
    before = contents(WHOLE)[name]
    position = data.draw(st.integers(0, len(before) - 1))
    content = bytearray(before)
    content[position] ^= bits
    found = verified(changed(WHOLE, name, lambda _: bytes(content)))

    assert not found.is_whole
    assert any(name in problem for problem in found.problems), found.problems
    if name == PART:
        line = before.count(b"\n", 0, position) + 1
        assert f"{PART} line {line}:" in found.problems[0]  # the change of a line feed is one of the line that it ends
    elif name in ("README.txt", "schema.json", "summary.html"):
        line = len(before[:position].splitlines(keepends=True) or [b""])
        assert f"{name} was changed in line" in found.problems[0]
        assert abs(int(found.problems[0].rsplit(" ", 1)[1].replace(",", "")) - line) <= 1


@given(position=st.integers(0, len(WHOLE) - 1), length=st.integers(1, 40))
def test_bytes_that_are_removed_or_added_are_found(position: int, length: int):
    assert not verified(WHOLE[:position] + WHOLE[position + length :]).is_whole
    assert not verified(WHOLE[:position] + bytes(length) + WHOLE[position:]).is_whole


def test_bytes_at_the_end_are_found():
    assert not verified(WHOLE + b"\0").is_whole


LINES = {
    "removed": (lambda lines: lines[:10] + lines[11:], "line 11: record 11 missing before it"),
    "removed at the beginning": (lambda lines: lines[3:], "line 1: records 1 to 3 missing before it"),
    "removed at the end": (lambda lines: lines[:-1], "was changed"),
    "twice": (lambda lines: [*lines[:11], *lines[10:]], "line 12: record 11 in the place of 12"),
    "moved": (lambda lines: [*lines[:10], lines[11], lines[10], *lines[12:]], "line 11: record 11 missing before it"),
    "added": (lambda lines: [*lines[:10], b'{"n":11}\n', *lines[10:]], "line 11: no record"),
    "of another batch": (
        lambda lines: [*lines[:14], contents(made(3))[PART].splitlines(keepends=True)[14], *lines[15:]],
        "line 16: record 16 was changed",
    ),
    "without an end": (lambda lines: [*lines[:-1], lines[-1][:-1]], "was changed"),
    "no JSON": (lambda lines: [*lines[:10], b"\xff\xfe\n", *lines[11:]], "line 11: no record"),
    "deep": (lambda lines: [*lines[:10], b'{"n":' + b"[" * 9000 + b"\n", *lines[11:]], "line 11: no record"),
    "long": (lambda lines: [*lines[:10], b"[" * (1 << 20) + b"\n", *lines[11:]], "line 11: longer than any line"),
    "a huge number": (lambda lines: [*lines[:10], b'{"n":1e400,"hash":""}\n', *lines[11:]], "line 11: no record"),
    "odd types": (lambda lines: [b'{"n":1,"hash":[],"type":{}}\n', *lines[1:]], "line 1: no record"),
}


def test_a_line_that_is_removed_added_or_moved_is_named(subtests):
    for how in LINES:
        with subtests.test(how=how):
            change, expected = LINES[how]

            found = verified(with_lines(WHOLE, change))

            assert expected in " ".join(found.problems)
            assert len(found.problems) < 12


def test_a_changed_line_is_one_problem_and_the_file_that_follows_from_it_another():
    found = verified(with_lines(WHOLE, lambda lines: [lines[0].replace(b"ab", b"cd", 1), *lines[1:]]))

    assert found.problems[0] == f"{PART} line 1: record 1 was changed: its hash does not fit it and the record before"
    assert found.problems[1:] == [f"{PART} was changed"]


def test_a_table_that_does_not_fit_the_records_is_found_though_a_stranger_has_signed_it():
    files = contents(WHOLE)
    files["summary.csv"] = files["summary.csv"].replace(b"invited", b"finished", 1)

    found = verified(packed_again(files))

    assert "summary.csv line 2 does not fit the records" in found.problems


def test_who_signs_a_changed_file_with_another_key_is_found_by_the_key_that_was_kept():
    forged = made(key=SigningKey(new_key()))

    assert verified(forged).is_whole
    found = verified(forged, KEY.public)
    assert "not the key" in found.problems[0]
    assert "another key has signed" in found.problems[-1]


def test_the_line_of_the_manifest_that_was_changed_is_named():
    found = verified(changed(WHOLE, "manifest.json", lambda text: text.replace(b'"batch": 7', b'"batch": 8')))

    assert found.problems == ["manifest.json was changed, line 4"]


def test_a_long_batch_has_several_parts_which_are_one_chain():
    content = made(part_bytes=5000)
    names = [name for name in contents(content) if name.startswith("evidence-")]
    assert len(names) > 5
    assert verified(content, KEY.public).records == 163

    files = contents(content)
    files[names[2]], files[names[3]] = files[names[3]], files[names[2]]
    assert f"{names[2]} line 1: records" in verified(packed_again(files)).problems[0]


HOSTILE = {
    "empty": b"",
    "no ZIP file": b"%PDF-1.4 and so on, for more than thirty bytes",
    "a name with ..": boxes.zipped("../../etc/passwd"),
    "an absolute name": boxes.zipped("/etc/passwd"),
    "a name twice": boxes.zipped("README.txt", "README.txt"),
    "another name": boxes.zipped("README.txt", "schema.json", "evidence-0002.jsonl"),
    "many files": boxes.zipped(*(f"evidence-{n:04}.jsonl" for n in range(3000))),
    "the directory alone": WHOLE[-700:],
    "a size that lies": with_header(WHOLE, 22, "<I", 0xFFFFFFFF),
    "a packed size that lies": with_header(WHOLE, 18, "<I", 0xFFFFFFF0),
    "a packed size of nothing": with_header(WHOLE, 18, "<I", 0),
    "a long name": with_header(WHOLE, 26, "<H", 0xFFFF),
    "extra fields": with_header(WHOLE, 28, "<H", 0xFFFF),
    "encrypted": with_header(WHOLE, 6, "<H", 1),
    "a data descriptor": with_header(WHOLE, 6, "<H", 8),
    "another compression": with_header(WHOLE, 8, "<H", 12),
    "stored": with_header(WHOLE, 8, "<H", 0),
    "another date": with_header(WHOLE, 12, "<H", 0x5000),
    "another checksum": with_header(WHOLE, 14, "<I", 1),
    "bytes before it": b"#!/bin/sh\n" + WHOLE,
    "twice": WHOLE + WHOLE,
    "half of it": WHOLE[: len(WHOLE) // 2],
    "without its end": WHOLE[:-1],
    "a comment": WHOLE[:-2] + b"\x05\x00hello",
    "a key of another kind": changed(
        WHOLE, "public-key.pem", lambda _: b"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"
    ),
    "a manifest that is no object": changed(WHOLE, "manifest.json", lambda _: b"[]"),
    "a deep manifest": changed(WHOLE, "manifest.json", lambda _: b"[" * 100_000),
    "a manifest without files": changed(WHOLE, "manifest.json", lambda _: b'{"files": [1, null, {}]}'),
    "an empty part": changed(WHOLE, PART, lambda _: b""),
}


def test_a_hostile_file_is_refused(subtests):
    for what in [*HOSTILE, "a bomb"]:
        with subtests.test(case=what):
            found = verified(boxes.bomb() if what == "a bomb" else HOSTILE[what])

            assert not found.is_whole
            assert not any("passwd" in problem for problem in found.problems)


def test_a_bomb_is_refused_by_its_header_before_it_is_decompressed():
    (problem,) = verified(boxes.bomb()).problems

    assert "157,286,400 bytes long, more than it can be" in problem


def test_millions_of_names_are_refused_at_the_first_that_has_no_place():
    assert verified(HOSTILE["many files"]).problems == [
        "a file is missing, added, named otherwise or moved at its beginning: expected README.txt"
    ]


def test_a_manifest_that_a_stranger_signs_must_fit_the_files():
    stranger = SigningKey(new_key())
    files = contents(WHOLE)
    files["manifest.json"] = b'{"files": []}'
    files["manifest.sig"], files["public-key.pem"] = stranger.sign(files["manifest.json"]), stranger.public.pem

    assert not verified(packed_again(files)).is_whole


def test_what_would_be_too_large_for_the_form_is_refused(monkeypatch):
    monkeypatch.setattr(container, "LARGEST", 1000)

    with pytest.raises(container.Refused, match="smaller batches"):
        make(io.BytesIO(), boxes.records(), KEY)
