"""Columns of the list's own that are for messages: their names, their values, and whose they are."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.database.encrypted_values import decrypt_person, encrypt_person
from onboarding_worker.core.model.customers import MOST_OWN, Person, with_own
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.templates.values import ADDRESS_IN_VALUE

TODAY = date(2026, 11, 20)
DECLARED = {"branch": "message.branch"}


def test_a_column_is_for_messages_by_its_prefix_or_because_it_is_named(read):
    for header in ("message.branch", "Message.Branch", "branch", "BRANCH"):
        (line,) = read(f"customer_id,channel,{header}\nA1,none,Vilnius\n", mapping=DECLARED)
        assert line.customer.person.message == {"branch": "Vilnius"}, header
    (line,) = read("customer_id,channel\nA1,none\n", mapping=DECLARED)
    assert line.customer.person.message is None


def test_an_object_in_a_json_line_has_them_too(read):
    lines = [{"customer_id": "A1", "channel": "none", "message": {"branch": "Vilnius", "Floor": 3}}]
    (line,) = read("".join(map(json.dumps, lines)), form="jsonl")
    assert line.customer.person.message == {"branch": "Vilnius", "floor": "3"}


def test_both_ways_at_once_are_two_columns_of_one_name(read, refusal):
    assert "both message.branch" in refusal("customer_id,channel,branch,message.branch\n", mapping=DECLARED)
    both = {"customer_id": "A1", "channel": "none", "branch": "x", "message": {"branch": "y"}}
    (line,) = read(json.dumps(both), form="jsonl", mapping=DECLARED)
    assert [problem.column for problem in line.problems] == ["message.branch"]


@pytest.mark.parametrize(
    "name", ["email", "link", "sender_name", "__class__", "1st", "bränch", "a.b", "", "x" * 33, "a'b", "message"]
)
def test_a_name_that_is_ours_or_has_another_form_is_refused(refusal, name):
    assert "message" in refusal(f"customer_id,channel,message.{name}\n")


def test_a_list_has_at_most_so_many(read, refusal):
    names = [f"message.n{number}" for number in range(MOST_OWN + 1)]
    assert "columns for messages" in refusal(f"customer_id,channel,{','.join(names)}\n")
    row = {"customer_id": "A1", "channel": "none", **dict.fromkeys(names, "x")}
    (line,) = read(json.dumps(row), form="jsonl")
    assert [problem.column for problem in line.problems] == [f"message.n{MOST_OWN}"]


@pytest.mark.parametrize(
    "value",
    [
        *("two\nlines", "x\r\nBcc: y", "a\x00b", "\u202eevil", "x" * 201, "#REF!", "####", True, [1], {"a": 1}),
        *("http://a.example", "evil.example", "a@b", "www.x", "javascript:x"),
        *(
            "//185.12.3.4/pay",
            "//[2001:db8::1]/pay",
            "//3115123456/pay",
            "//localhost/pay",
            "/\\evil",
            "\\\\host\\share",
        ),
        *(
            "185.12.3.4/pay",
            "pay at 185.12.3.4.",
            "1\u30022\u30023\u30024/p",
            "１８５．１２．３．４",
            "185\uff6112\u20243\ufe524",
        ),
    ],
)
def test_a_value_that_no_message_may_have_rejects_its_row_and_is_not_repeated(problems, value):
    found = problems(**{"message.branch": value})
    assert list(found) == ["message.branch"]
    assert str(value) not in found["message.branch"] or value == "#REF!"


OURS = ListOptions(today=TODAY, mail_domains={"bank.example"})


def test_an_email_address_of_our_own_is_a_value():
    line = accept(2, {"customer_id": "A1", "channel": "none", "message.adviser": "Ona.P@Bank.example"}, OURS)
    assert isinstance(line, AcceptedLine)
    assert line.customer.person.message == {"adviser": "Ona.P@Bank.example"}


@pytest.mark.parametrize(
    "value",
    [
        *("ona@evil.example", "ona@bank.example.evil.example", "ona@evil.example@bank.example", "a@b@bank.example"),
        *("mailto:ona@bank.example", "ona@bank.example?bcc=x@evil.example", "write to ona@bank.example"),
        *("//evil.example/ona@bank.example", "ona@bank\uff0eexample", "on\u0430@bank.example", "@bank.example"),
        "ona@bank.example evil.example",
    ],
)
def test_another_address_or_more_than_one_is_none(value):
    line = accept(2, {"customer_id": "A1", "channel": "none", "message.adviser": value}, OURS)
    assert isinstance(line, RefusedLine)
    assert [problem.column for problem in line.problems] == ["message.adviser"]


@pytest.mark.parametrize("value", ["{{ branch }}", "${branch}", "MÃ¼nchen", "[Branch Name]", "«Branch»", "@@branch@@"])
def test_a_placeholder_is_left_out_with_a_warning(value):
    line = accept(2, {"customer_id": "A1", "channel": "none", "message.branch": value}, ListOptions(today=TODAY))
    assert isinstance(line, AcceptedLine)
    assert line.customer.person.message is None
    assert [problem.column for problem in line.if_used] == ["message.branch"]


@given(value=st.text(max_size=220))
def test_an_accepted_value_is_one_short_line_without_an_address(value):
    line = accept(2, {"customer_id": "A1", "channel": "none", "message.branch": value}, ListOptions(today=TODAY))
    if isinstance(line, RefusedLine):
        assert {problem.column for problem in line.problems} == {"message.branch"}
        return
    kept = (line.customer.person.message or {}).get("branch", "")
    assert kept == kept.strip()
    assert len(kept) <= 200
    assert len(kept.splitlines()) <= 1
    assert not ADDRESS_IN_VALUE.search(kept)


def test_they_are_encrypted_with_the_person_and_in_no_repr(keyring):
    person = Person(email="a@example.com", message={"branch": "Vilnius"})
    sealed = encrypt_person(keyring, "A1", person)
    assert b"Vilnius" not in sealed
    assert decrypt_person(keyring, "A1", sealed) == person
    assert "Vilnius" not in repr(person)
    assert decrypt_person(keyring, "A1", encrypt_person(keyring, "A1", Person())).message is None


def test_newer_values_win_and_others_stay_within_the_bound():
    person = Person(message={"branch": "Vilnius", "floor": "3"})
    assert with_own(person, {"branch": "Kaunas"}).message == {"branch": "Kaunas", "floor": "3"}
    assert with_own(person, None) is person
    full = with_own(person, {f"n{number}": "x" for number in range(MOST_OWN)}).message
    assert full is not None
    assert len(full) == MOST_OWN
    assert "branch" not in full


def test_a_mapping_names_them(read):
    (line,) = read("customer_id,channel,Filiale\nA1,none,Berlin\n", mapping={"Filiale": "message.branch"})
    assert line.customer.person.message == {"branch": "Berlin"}
