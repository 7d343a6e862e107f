"""`onboard evidence`: what an auditor gets, and what the check of it says."""

import json
import zipfile
from collections import Counter

import pytest

from tests.desk.desk import Desk, Played, customers


@pytest.fixture
def signing(desk: Desk) -> Desk:
    """A desk that has a batch with a customer of each kind, and a key that signs."""
    made = desk.onboard("keys", "new", "--for", "evidence")
    desk.secret("evidence", made.out)
    desk.add('[evidence]\nkey = { file = "secrets/evidence" }\n')
    assert "BEGIN PUBLIC KEY" in made.err
    rows = [*customers(4, au=1), {"customer_id": "A-9", "email": "none"}, {"customer_id": "C-0001", "email": "x@y.org"}]
    rows[0] |= {"consent": "true", "phone": "+37061234567"}
    desk.onboard("run", desk.list_of(rows))
    desk.onboard("cancel", "1", "--yes")
    return desk


def lines(desk: Desk, name: str = "batch.zip") -> list[dict]:
    with zipfile.ZipFile(desk.path / name) as opened:
        return [json.loads(line) for line in opened.read("evidence-0001.jsonl").splitlines()]


def test_evidence_has_each_customer_with_calls_sessions_messages_consent_and_decisions(signing: Desk, played: Played):
    made = signing.onboard("evidence", "latest", "--out", "batch.zip", "--json")

    assert made.code == 0, made.err
    assert made.facts["customers"] == 4
    found = lines(signing)
    kinds = Counter(line["type"] for line in found)
    assert (kinds["batch"], kinds["customer"], kinds["session"], kinds["refused"]) == (1, 4, 4, 2)
    assert kinds["call"] >= len(played.calls()) + kinds["message"]  # a call that did not reach the sandbox counts too
    assert [line["consent"] for line in found if line["type"] == "customer"] == [True, None, None, None]
    assert all(line["template"] and line["sent_at"] for line in found if line["type"] == "message")
    assert {line["action"] for line in found if line["type"] == "decision"} >= {"run", "cancel"}
    opened = {entry["reference"] for entry in played.calls("idenfy-kyc") if entry["processed"]}
    assert {line["reference"] for line in found if line["type"] == "session" and line["account"] == "kyc"} == opened


def test_evidence_holds_no_address_name_text_token_or_link(signing: Desk, played: Played):
    signing.onboard("evidence", "1", "--out", "batch.zip")

    with zipfile.ZipFile(signing.path / "batch.zip") as opened:
        text = "".join(opened.read(name).decode("latin-1") for name in opened.namelist())
    never = ["example.com", "Quirin", "Ostrander", "37061234567", "https://", *played.tokens]
    assert [word for word in never if word in text.replace("https://json-schema.org", "")] == []


def test_the_same_state_gives_the_same_file_and_each_making_has_an_entry(signing: Desk):
    first = signing.onboard("evidence", "1", "--out", "batch.zip", "--json").facts
    over = signing.onboard("evidence", "1", "--out", "batch.zip")
    assert (over.code, "batch.zip exists; name another file" in over.err) == (2, True)
    second = signing.onboard("evidence", "1", "--out", "again.zip", "--json").facts

    assert first == second
    assert (signing.path / "batch.zip").read_bytes() == (signing.path / "again.zip").read_bytes()
    entries = signing.onboard("audit", "--action", "evidence", "--json").facts["entries"]
    assert [entry["subject"] for entry in entries] == ["batch 1", "batch 1"]
    assert first["content"] in entries[0]["reason"]


def test_an_auditor_checks_it_without_configuration_and_database(signing: Desk):
    signing.onboard("evidence", "1", "--out", "batch.zip")
    signing.onboard("evidence", "key", "--out", "pinned.pem")
    signing.config.unlink()
    signing.without_database()

    whole = signing.onboard("evidence", "verify", "batch.zip", "--key", "pinned.pem", "--json")
    unpinned = signing.onboard("evidence", "verify", "batch.zip")
    content = bytearray((signing.path / "batch.zip").read_bytes())
    content[content.index(b"evidence-0001.jsonl") + 900] ^= 1
    signing.write("batch.zip", bytes(content))
    damaged = signing.onboard("evidence", "verify", "batch.zip", "--key", "pinned.pem")

    assert (whole.code, whole.facts["whole"], whole.facts["pinned"], whole.facts["batch"]) == (0, True, True, 1)
    assert (unpinned.code, "give it with --key" in unpinned.out) == (0, True)
    assert damaged.code == 1
    assert "evidence-0001.jsonl" in damaged.err
    assert "is not as it was signed" in damaged.err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("evidence", "give a BATCH"),
        ("evidence 7 --out x.zip", "there is no batch '7'"),
        ("evidence 1", "--out"),
        ("evidence 1 --nothing", "Usage: onboard evidence [OPTIONS] BATCH"),
        ("evidence 1 --nothing", "'onboard evidence --help'"),
        ("evidence verify nothing.zip", "there is no such file"),
        ("evidence verify customers.csv --key nothing.pem", "--key: nothing.pem cannot be read"),
        ("evidence verify customers.csv --key customers.csv", "expected an Ed25519 public key"),
    ],
)
def test_what_cannot_start_says_why(signing: Desk, typed: str, says: str):
    ended = signing.onboard(*typed.split())

    assert ended.code == 2
    assert says in ended.err


def test_without_a_key_nothing_is_made_and_the_way_to_one_is_named(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))

    ended = desk.onboard("evidence", "1", "--out", "batch.zip")

    assert ended.code == 2
    assert "`onboard keys new --for evidence`" in ended.err
    assert not (desk.path / "batch.zip").exists()


def test_a_message_shows_a_files_name_without_what_a_terminal_acts_on(desk: Desk):
    ended = desk.onboard("evidence", "verify", "a\x1b[2J.zip")
    assert (ended.code, ended.err) == (2, "a?[2J.zip: there is no such file\n")
