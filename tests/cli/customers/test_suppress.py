"""`onboard suppress`: what may not be written to, kept so that it can be asked for and not be read."""

import io
import sqlite3
import sys
from contextlib import closing

import pytest

from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.wiring.os_user import os_user
from tests.desk.desk import customers


@pytest.fixture
def kept(desk):
    def facts():
        return {
            (one["channel"], one["reason"]): one["addresses"]
            for one in desk.onboard("suppress", "--list", "--json").facts["suppressed"]
        }

    return facts


def test_an_address_is_suppressed_checked_and_removed_again(desk, kept, monkeypatch):
    ended = desk.onboard("suppress", "Vita@Example.com", "060000000", "--country", "lt")
    assert (ended.code, ended.out) == (0, "2 addresses will get no more messages\n")
    assert (
        "1 address will get no more messages; 1 was suppressed already"
        in desk.onboard("suppress", "vita@example.com", "ona@example.com", "--reason", "complaint").out
    )
    assert kept() == {("email", "complaint"): 2, ("sms", "manual"): 1}
    checked = desk.onboard("suppress", "--check", "+37060000000", "jonas@example.com", "--json")
    first, second = checked.facts["addresses"]
    assert (first["place"], first["suppressed"], first["reason"]) == (1, True, "manual")
    assert (second["place"], second["suppressed"], second["reason"]) == (2, False, None)
    assert desk.onboard("suppress", "--remove", "+370 600 00000").out == "1 address may get messages again\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    refused = desk.onboard("suppress", "--remove", "vita@example.com")
    assert (refused.code, "1 address asked for no more messages, or complained" in refused.err) == (1, True)
    assert kept() == {("email", "complaint"): 2}
    assert desk.onboard("suppress", "--remove", "vita@example.com", "--yes").code == 0
    assert kept() == {("email", "complaint"): 1}


def test_an_operators_entry_is_named_next_to_the_customers_own(desk, monkeypatch):
    monkeypatch.setenv("LOGNAME", "vita")  # anybody may say so
    operator = os_user().name
    desk.onboard("suppress", "+37060000000")
    desk.onboard("suppress", "+37060000000", "--reason", "stop")
    checked = desk.onboard("suppress", "--check", "+37060000000")
    assert f"stop, by {operator}; also manual, by {operator}" in checked.out
    (facts,) = desk.onboard("suppress", "--check", "+37060000000", "--json").facts["addresses"]
    assert (facts["reason"], facts["manual_by"]) == ("stop", operator)


def test_a_user_without_a_name_may_suppress_too(desk, kept, monkeypatch):
    def nameless(_number):
        raise KeyError("getpwuid(): uid not found: 12345")  # a container that runs as any number

    monkeypatch.setattr("pwd.getpwuid", nameless)
    os_user.cache_clear()
    assert desk.onboard("suppress", "vita@example.com").code == 0
    os_user.cache_clear()
    assert kept() == {("email", "manual"): 1}


def test_a_file_of_addresses_is_read_line_by_line_and_its_bad_lines_are_named(desk, kept):
    gone = desk.write("gone.txt", "\ufeff\ufeff# by letter\nvita@example.com\n\n060000000\nnobody\n+37060000000\n")
    ended = desk.onboard("suppress", "--file", gone, "--reason", "stop", "--json")
    assert ended.code == 1
    assert (ended.facts["added"], [one["place"] for one in ended.facts["refused"]]) == (2, [4, 5])
    assert "line 4: a national number without a country; start with +" in ended.err
    assert "or give --country" in ended.err
    assert "nobody" not in ended.err
    assert kept() == {("email", "stop"): 1, ("sms", "stop"): 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give addresses, or a --file of them"),
        (["--list", "vita@example.com"], "takes no address"),
        (["nobody"], "address 1: 6 characters, and not all of them belong to a phone number"),
        (["060000000", "--country", "XX"], "expected a country's code"),
    ],
)
def test_what_cannot_be_meant_changes_nothing_and_repeats_no_address(desk, kept, arguments, says):
    ended = desk.onboard("suppress", *arguments)
    assert (ended.code, says in ended.err) == (2, True), ended.err
    assert kept() == {}


def test_neither_the_database_nor_the_audit_log_has_the_address(desk):
    desk.onboard("suppress", "vita@example.com")
    desk.onboard("suppress", "--check", "vita@example.com")
    with closing(sqlite3.connect(desk.path / "onboarding.db")) as database:
        written = "\n".join(database.iterdump())
        noted = database.execute("SELECT action, subject, count, reason FROM audit ORDER BY id").fetchall()
    assert "vita@" not in written.lower()
    assert noted == [
        ("suppress", "do-not-contact list", 1, "added: manual"),
        ("suppress", "do-not-contact list", 1, "asked whether it has these addresses"),
    ]


def test_another_encryption_key_finds_the_addresses_as_before(desk):
    desk.onboard("suppress", "vita@example.com")
    (desk.path / "onboarding.key").write_text(new_key())
    assert desk.onboard("suppress", "--list", "--json").facts["by_keys_that_are_gone"] == 0
    assert desk.onboard("suppress", "--check", "vita@example.com", "--json").facts["addresses"][0]["suppressed"]


def test_a_start_is_refused_while_suppressed_addresses_would_be_forgotten(desk):
    desk.onboard("suppress", "vita@example.com")
    (desk.path / "onboarding-digest.key").write_text(new_key())
    ended = desk.onboard("run", desk.list_of(customers(1)))
    assert ended.code == 2
    assert "encryption.digest_key: 1 suppressed addresses are known by a key that is not in the ring" in ended.err
    more = desk.onboard("suppress", "ona@example.com")
    assert (more.code, more.err) == (2, ended.err)
    assert "1 address known by a key that is not in [enc" in desk.onboard("suppress", "--check", "vita@example.com").err
    assert desk.onboard("suppress", "--list", "--json").facts["by_keys_that_are_gone"] == 1
    assert desk.onboard("suppress", "--forget-unknown", "--yes").code == 0
    assert desk.onboard("suppress", "--list", "--json").facts["suppressed"] == []
