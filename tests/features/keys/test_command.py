"""`onboard keys`: a key is rotated, retired and destroyed, and nothing is lost."""

import base64
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import encrypt_person
from onboarding_worker.core.database.tables import CustomerRow
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.core.model.customers import Person
from onboarding_worker.wiring.store.encrypted_columns import retired_keys
from tests.desk.desk import DATABASE, Desk, Ended, Played, customers
from tests.suite.some import some


@pytest.fixture
def used(desk: Desk) -> Desk:
    """A desk with customers and a suppressed address under the old key; `old` and `new` are the keys' ids."""
    assert desk.onboard("run", desk.list_of(customers(4))).code == 0
    desk.onboard("suppress", "vita@example.com")
    return desk


def id_of(desk: Desk, file: str) -> str:
    key = (desk.path / file).read_text().strip()
    return Keyring([key]).ids[0] if "digest" not in file else Keyring([key], [key]).digest_ids[0]


def add_first(desk: Desk) -> None:
    (desk.path / "new.key").write_text(desk.onboard("keys", "new").out)
    desk.change('keys = [{ file = "onboarding.key" }]', 'keys = [{ file = "new.key" }, { file = "onboarding.key" }]')


def retire(desk: Desk, key_id: str, *options: str) -> Ended:
    """No process is started meanwhile: one look is enough."""
    return desk.onboard("keys", "retire", key_id, "--second-look", "0", *options)


def remove_last(desk: Desk) -> None:
    desk.change(', { file = "onboarding.key" }]', "]")
    (desk.path / "onboarding.key").unlink()


def test_a_key_is_rotated_retired_and_destroyed_and_every_link_still_opens(used: Desk):
    old = id_of(used, "onboarding.key")
    add_first(used)
    rotated = used.onboard("keys", "rotate", "--per-second", "100000", "--json")
    assert rotated.code == 0
    assert rotated.facts["columns"]["customers"]["changed"] == 4
    retired = retire(used, old)
    assert (retired.code, retired.out) == (
        0,
        f"nothing needs the key {old}: take it out of the configuration, and destroy it\n",
    )
    remove_last(used)
    rows = used.onboard("report", "latest", "--with-links").table
    assert all(row["link"].startswith("http") for row in some(rows))
    assert used.onboard("suppress", "--check", "vita@example.com", "--json").facts["addresses"][0]["suppressed"]


def test_a_digest_key_is_rotated_and_retired_although_copies_are_forgotten(used: Desk):
    old = id_of(used, "onboarding-digest.key")
    (used.path / "digest2.key").write_text(new_key())
    both = 'digest_key = [{ file = "digest2.key" }, { file = "onboarding-digest.key" }]'
    used.change('digest_key = { file = "onboarding-digest.key" }', both)
    assert used.onboard("keys", "rotate").code == 0
    refused = retire(used, old)
    assert (refused.code, refused.lines[0]) == (1, f"the key {old} is needed by 4 digests of places of addresses")
    assert retire(used, old, "--forget-copies").code == 0
    used.change(both, 'digest_key = { file = "digest2.key" }')
    assert used.onboard("run", used.list_of([customers(9)[8]], "other.csv")).code == 0
    assert used.onboard("suppress", "--check", "vita@example.com", "--json").facts["addresses"][0]["suppressed"]


def test_a_value_that_is_encrypted_after_the_first_look_is_seen_by_the_second(
    used: Desk, monkeypatch: pytest.MonkeyPatch
):
    old = id_of(used, "onboarding.key")
    before = Keyring([(used.path / "onboarding.key").read_text().strip()])
    add_first(used)
    assert used.onboard("keys", "rotate", "--per-second", "100000").code == 0
    database = Database(f"sqlite:///{used.path / DATABASE}")

    def late_write(seconds: float) -> None:
        """A process that had the old key as its first one, and had not said yet that it runs."""
        assert (seconds, old in retired_keys(database)) == (3, True)
        with database.write() as connection:
            row = connection.execute(sa.select(CustomerRow.customer_id)).scalars().first()
            kept = encrypt_person(before, row, Person(email="late@example.com"))
            connection.execute(sa.update(CustomerRow).where(CustomerRow.customer_id == row).values(encrypted=kept))

    monkeypatch.setattr("onboarding_worker.features.keys.command.time", SimpleNamespace(sleep=late_write))
    retiring = used.onboard("keys", "retire", old, "--second-look", "3")
    database.close()

    assert retiring.code == 1
    assert "the second look is in 3 s" in retiring.lines[0]
    assert retiring.lines[1] == f"the key {old} is needed by 1 customer"
    assert used.onboard("keys", "status", "--json").facts["keys"][1]["state"] == "other"  # not retired


def test_a_key_that_values_need_is_not_retired(used: Desk):
    old = id_of(used, "onboarding.key")
    add_first(used)
    ended = retire(used, old, "--json")
    assert (ended.code, ended.facts["retired"]) == (1, False)
    assert ended.facts["values"]["customers"] == 4
    assert retire(used, old, "--json").code == 1


def test_the_first_key_is_not_retired_and_a_retired_key_starts_nothing(used: Desk):
    old = id_of(used, "onboarding.key")
    assert retire(used, old).code == 2
    add_first(used)
    used.onboard("keys", "rotate")
    assert retire(used, old).code == 0
    used.change(
        '{ file = "new.key" }, { file = "onboarding.key" }', '{ file = "onboarding.key" }, { file = "new.key" }'
    )
    ended = used.onboard("run", used.list_of(customers(1), "other.csv"))
    assert ended.code == 2
    assert f"encryption.keys: the first key, {old}, was retired on" in ended.err
    assert used.onboard("keys", "rotate").code == 2


def test_the_progress_of_a_rotation_names_the_total(used: Desk, monkeypatch):
    monkeypatch.setattr("onboarding_worker.features.keys.command.SHOW_EVERY", 0.0)
    add_first(used)
    shown = used.onboard("keys", "rotate", "--per-second", "100000").lines

    assert shown == [
        "suppressed addresses: 1 of 1 changed; 1 of 9 in all (11 %)",
        "customers: 4 of 4 changed; 5 of 9 in all (55 %)",
        "sessions: 4 of 4 changed; 9 of 9 in all (100 %)",
    ]


def test_status_shows_each_key_with_what_needs_it(used: Desk):
    old, digest = id_of(used, "onboarding.key"), id_of(used, "onboarding-digest.key")
    add_first(used)
    facts = used.onboard("keys", "status", "--json").facts["keys"]
    assert [(one["id"], one["use"], one["state"]) for one in facts[1:]] == [
        (old, "encryption", "other"),
        (digest, "digests", "first"),
    ]
    assert facts[0]["needed_by"] == {}
    assert facts[1]["needed_by"]["customers"] == 4
    assert facts[2]["needed_by"]["suppressed addresses"] == 1


def test_a_lost_key_is_named_and_can_be_given_up(used: Desk):
    old = id_of(used, "onboarding.key")
    (used.path / "onboarding.key").write_text(new_key())
    status = used.onboard("keys", "status")
    assert status.code == 1
    assert f"{old}  encryption, missing: " in status.out
    assert used.onboard("run", used.list_of(customers(1), "other.csv")).code == 2
    assert retire(used, old).code == 1
    assert retire(used, old, "--lost").code == 0
    assert used.onboard("run", used.list_of([customers(9)[8]], "other.csv")).code == 0
    assert used.onboard("report", "2", "--with-links").table[0]["link"]


def test_rotating_what_no_key_opens_ends_with_1_and_says_how_many(used: Desk):
    (used.path / "onboarding.key").write_text(new_key())
    ended = used.onboard("keys", "rotate")
    assert ended.code == 1
    assert "customers: 0 changed; 4 cannot be decrypted" in ended.out


@pytest.mark.parametrize("id_", ["", "1a2b", "ABCDEF01", "1a2b3c4d5"])
def test_what_is_no_keys_id_is_refused(desk: Desk, id_: str):
    assert retire(desk, id_).code == 2


def test_what_needs_a_key_is_counted_in_words_for_one_and_for_many(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(1)))
    shown = desk.onboard("keys", "status").out
    assert "first: 1 customer, " in shown
    assert "digests, first: 1 email of customers, 1 token of sessions, the audit log's head" in shown
    desk.onboard("run", desk.list_of(customers(3), "more.csv"))
    assert "3 emails of customers" in desk.onboard("keys", "status").out


def test_a_new_key_is_printed_alone_and_needs_no_configuration(bare: Desk):
    first, second = (bare.onboard("keys", "new") for _ in range(2))
    assert (first.code, first.err) == (0, "")
    assert first.out.count("\n") == 1
    assert len(base64.b64decode(first.out.strip(), altchars=b"-_")) == 32
    assert first.out != second.out


def test_the_derived_digest_key_can_be_set_before_the_encryption_keys_rotate(desk):
    config = desk.path / "onboarding.toml"
    config.write_text(config.read_text().replace('digest_key = { file = "onboarding-digest.key" }', ""))
    desk.onboard("suppress", "vita@example.com")
    (desk.path / "onboarding-digest.key").write_text(desk.onboard("keys", "digest-key").out)
    config.write_text(
        config.read_text().replace("[encryption]", '[encryption]\ndigest_key = { file = "onboarding-digest.key" }')
    )
    (desk.path / "onboarding.key").write_text(new_key())
    assert desk.onboard("suppress", "--check", "vita@example.com", "--json").facts["addresses"][0]["suppressed"]
    assert desk.onboard("keys", "digest-key").code == 2
