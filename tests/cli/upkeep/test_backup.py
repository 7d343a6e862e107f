"""`onboard backup`: the data for long, the customers' keys for days, and both as a database again."""

import errno
import os
import re
import shutil

import pytest

from tests.desk.desk import DATABASE, Desk, customers
from worker.cli.commands import database as command
from worker.foundation.keyring import new_key

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def invited(desk: Desk) -> Desk:
    """Two customers with keys of their own, invited."""
    desk.change("[encryption]", "[encryption]\ncustomer_keys = true")
    desk.list_of(customers(2))
    assert desk.onboard("run", "customers.csv").code == 0
    return desk


def lose_database(desk):
    for file in desk.path.glob(f"{DATABASE}*"):
        file.unlink()


def links(desk):
    return {row["customer_id"]: row["link"] for row in desk.onboard("report", "1", "--with-links").table}


def test_a_lost_database_comes_back_without_who_was_erased_and_sends_nothing_before_a_person_goes_on(invited: Desk):
    before = links(invited)
    made = invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl")
    assert (made.code, "2 keys of customers" in made.out) == (0, True)
    shutil.copy(invited.path / "keys.jsonl", invited.path / "older.jsonl")
    assert invited.onboard("customer", "erase", "C-0001", "--yes").code == 0
    assert invited.onboard("backup", "--out", "tuesday", "--keys", "keys.jsonl").code == 0

    in_use = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl")
    assert (in_use.code, "exists: move it away first" in in_use.err) == (2, True)
    lose_database(invited)
    without = invited.onboard("backup", "restore", "monday")
    assert (without.code, "needs 2 keys of customers" in without.err) == (2, True)
    older = invited.onboard("backup", "restore", "tuesday", "--keys", "older.jsonl")
    assert (older.code, "is older than the data" in older.err) == (2, True)
    key = (invited.path / "onboarding.key").read_text()
    (invited.path / "onboarding.key").write_text(new_key())
    wrong = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl")
    assert (wrong.code, "needs the key" in wrong.err) == (2, True)
    assert not (invited.path / DATABASE).exists()
    (invited.path / "onboarding.key").write_text(key)

    again = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl", "--json")

    assert again.code == 0, again.err
    assert (again.facts["customer_keys"], again.facts["erased_again"]) == (1, 1)
    assert links(invited) == before | {"C-0001": ""}
    assert "everything was stopped" in invited.onboard("status").out
    assert invited.onboard("customer", "export", "C-0001").out.count("@") == 0
    refused = invited.onboard("run", "customers.csv")
    assert "everything was stopped" in refused.err + refused.out
    assert "erased since the backup" in invited.onboard("audit").out
    assert invited.onboard("audit", "verify").code == 0


def test_without_keys_of_customers_an_older_file_is_refused_too_and_none_is_said(desk: Desk):
    desk.list_of(customers(2))
    assert desk.onboard("run", "customers.csv").code == 0
    assert desk.onboard("backup", "--out", "monday", "--keys", "older.jsonl").code == 0
    assert desk.onboard("customer", "erase", "C-0001", "--yes").code == 0
    assert desk.onboard("backup", "--out", "tuesday", "--keys", "keys.jsonl").code == 0
    lose_database(desk)
    older = desk.onboard("backup", "restore", "tuesday", "--keys", "older.jsonl")
    assert (older.code, "is older than the data" in older.err) == (2, True)
    without = desk.onboard("backup", "restore", "monday")
    assert (without.code, "it is not known who was erased since" in without.err) == (0, True)
    assert "erased again" not in without.out
    assert "@" in desk.onboard("customer", "export", "C-0001").out


@pytest.mark.parametrize("left", ["-wal", "-shm", "-journal"])
def test_what_a_killed_process_left_of_a_database_is_not_read_into_the_restored_one(invited: Desk, left):
    assert invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl").code == 0
    (invited.path / f"{DATABASE}{left}").write_bytes(b"of the database that is there no more")
    both = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl")
    assert (both.code, f"{DATABASE}, " in both.err, f"{DATABASE}{left} exist: move them" in both.err) == (2, True, True)
    (invited.path / DATABASE).unlink()

    refused = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl")

    assert (refused.code, f"{DATABASE}{left} exists: move it away first" in refused.err) == (2, True)
    assert not (invited.path / DATABASE).exists()
    lose_database(invited)
    assert invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl").code == 0
    assert len(links(invited)) == 2


def test_a_database_that_a_process_opens_during_a_restore_keeps_its_place(invited: Desk, monkeypatch):
    assert invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl").code == 0
    lose_database(invited)
    erase_again = command.restoring.erase_again

    def meanwhile(*given, **options):
        (invited.path / f"{DATABASE}-wal").write_bytes(b"of another process")
        return erase_again(*given, **options)

    monkeypatch.setattr(command.restoring, "erase_again", meanwhile)
    refused = invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl")
    assert (refused.code, "away first, nothing was restored" in refused.err) == (2, True)
    assert not (invited.path / DATABASE).exists()
    assert not list(invited.path.glob(".onboard-*"))


def test_a_database_is_restored_where_the_file_system_has_no_hard_links(invited: Desk, monkeypatch):
    def refused(*_paths, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    assert invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl").code == 0
    lose_database(invited)
    monkeypatch.setattr(os, "link", refused)

    assert invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl").code == 0

    assert all(link.startswith("http") for link in links(invited).values())
    assert not list(invited.path.glob(".onboard-*"))


def test_the_time_of_a_backup_is_written_as_all_times_are_and_one_that_is_none_is_damage(invited: Desk):
    made = invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl").out
    (said,) = re.findall(r", as of (.*)", made)
    assert re.fullmatch(TIME, said)
    lose_database(invited)
    manifest = invited.path / "monday/manifest.json"
    whole = manifest.read_text()
    manifest.write_text(re.sub('"at": "[^"]*"', '"at": "yesterday"', whole))
    assert "is damaged" in invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl").err
    manifest.write_text(whole)
    assert f"as of {said}" in invited.onboard("backup", "restore", "monday", "--keys", "keys.jsonl").out
    assert f"from the backup of {said}: " in invited.onboard("status").out


def test_a_backup_overwrites_no_directory_and_keeps_the_keys_out_of_it(invited: Desk):
    (invited.path / "there").mkdir()
    there = invited.onboard("backup", "--out", "there")
    assert (there.code, "exists; name another directory" in there.err) == (2, True)
    inside = invited.onboard("backup", "--out", "new", "--keys", "new/keys.jsonl")
    assert (inside.code, "must not be in DIR" in inside.err) == (2, True)
    assert not (invited.path / "new").exists()
    nowhere = invited.onboard("backup", "--out", "not/there")
    assert (nowhere.code, nowhere.err) == (2, "--out: not/there: No such file or directory\n")
    assert invited.onboard("backup").code == 2


def test_a_full_disk_leaves_no_half_of_a_backup_and_the_keys_of_the_one_before(invited: Desk, monkeypatch):
    assert invited.onboard("backup", "--out", "monday", "--keys", "keys.jsonl").code == 0
    keys = (invited.path / "keys.jsonl").read_bytes()

    def full(_database, folder, stream, **_):
        (folder / "job.copy").write_bytes(b"some")
        stream.write("some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "copy_data", full)
    ended = invited.onboard("backup", "--out", "tuesday", "--keys", "keys.jsonl")

    assert (ended.code, ended.err) == (1, "No space left on device; tuesday was removed again\n")
    assert not (invited.path / "tuesday").exists()
    assert (invited.path / "keys.jsonl").read_bytes() == keys
    assert not list(invited.path.glob(".onboard-*"))
