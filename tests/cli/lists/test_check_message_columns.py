"""Columns that messages show: a row whose message would lack one is rejected."""

import re

import pytest

from tests.desk.desk import Desk


def shows_columns(desk: Desk, **templates: str) -> None:
    """Each template, by its name, has this line in its mails and texts."""
    for name, text in templates.items():
        folder = desk.config.parent / "words" / name / "en"
        folder.mkdir(parents=True)
        (folder / "sms.txt").write_text(f"{text} {{{{ link }}}}", "utf-8")
        (folder / "subject.txt").write_text("Verify", "utf-8")
        (folder / "body.txt").write_text(f"{text} {{{{ link }}}}", "utf-8")
    desk.add('[invitations]\ntemplates = "words/"\n[import]\nmessage_columns = ["branch"]\n')


def test_a_row_without_a_column_that_its_message_shows_is_rejected_with_the_column(desk: Desk):
    shows_columns(desk, default="{% if message.adviser %}{{ message.adviser }}{% endif %} {{ message.branch }}")
    rows = (
        "A-1,a@example.com,,Vilnius,Ona\nA-2,b@example.com,,,Ona\nA-3,,+37060000001,[BRANCH],\nA-4,d@a.example,,Kaunas,"
    )
    listed = desk.write("t.csv", f"customer_id,email,phone,Branch,message.adviser\n{rows}\n")

    ended = desk.onboard("check", listed, "--json")

    assert ended.facts["rows"]["accepted"] == 2
    refused = [(one["row"], one["column"]) for one in ended.facts["problems"]]
    assert refused == [(3, "message.branch"), (4, "message.branch")]
    assert "message.adviser" not in ended.err  # the list's own header names it
    without = desk.write("w.csv", "customer_id,email\nA-1,a@example.com\n")
    ended = desk.onboard("check", without)
    assert "message.branch" in ended.out
    assert "message.adviser" in ended.err


def test_a_known_customers_row_takes_the_value_that_is_stored(desk: Desk):
    shows_columns(desk, default="{{ message.branch }}")
    desk.onboard("import", desk.write("t.csv", "customer_id,email,branch\nA-1,a@example.com,Vilnius\n"))
    without = desk.write("w.csv", "customer_id,email\nA-1,a@example.com\nA-2,b@example.com\n")

    found = desk.onboard("check", without, "--json").facts
    imported = desk.onboard("import", without, "--json").facts

    assert [(one["row"], one["column"]) for one in found["problems"]] == [(3, "message.branch")]
    assert (found["rows"]["accepted"], imported["rows"]["rejected"]) == (1, 1)


@pytest.mark.parametrize("between", [0, 1500])
def test_a_value_in_another_row_of_the_list_counts_neither_in_a_check_nor_in_an_import(desk: Desk, between: int):
    shows_columns(desk, default="{{ message.branch }}")
    rows = [f"B-{number},b{number}@example.com,onboarding,Kaunas" for number in range(between)]
    rows = ["A-1,a@example.com,onboarding,Vilnius", *rows, "A-1,a@example.com,renewal,"]
    listed = desk.write("t.csv", "\n".join(["customer_id,email,purpose,branch", *rows, ""]))

    found = desk.onboard("check", listed, "--json").facts
    imported = desk.onboard("import", listed, "--json").facts

    assert [(one["row"], one["column"]) for one in found["problems"]] == [(between + 3, "message.branch")]
    assert (found["rows"]["rejected"], imported["rows"]["rejected"]) == (1, 1)


def test_a_row_needs_what_the_template_of_its_brand_shows(desk: Desk):
    shows_columns(desk, default="Hello.", nova="{{ message.branch }}")
    desk.add('[brand.nova]\nname = "Nova"\ntemplate = "nova"\n')
    listed = desk.write("b.csv", "customer_id,email,brand\nA-1,a@example.com,\nA-2,b@example.com,nova\n")

    (problem,) = desk.onboard("check", listed, "--json").facts["problems"]

    assert (problem["row"], problem["column"]) == (3, "message.branch")
    assert "nova/en/" in problem["problem"]


def test_an_advisers_address_at_the_domain_of_our_mails_is_good_and_another_one_is_not(desk: Desk):
    ours = re.search(r"^from = .*@([a-z.]+)>?\"", desk.config.read_text("utf-8"), re.M)
    assert ours is not None
    rows = f"A-1,a@example.com,ona@{ours[1]}\nA-2,b@example.com,ona@nova.example\nA-3,c@example.com,ona@evil.example\n"
    desk.add('[brand.nova]\nname = "Nova"\nfrom = "Nova <hello@nova.example>"\n')
    listed = desk.write("a.csv", f"customer_id,email,message.adviser\n{rows}")
    (problem,) = desk.onboard("check", listed, "--json").facts["problems"]
    assert (problem["row"], problem["column"]) == (4, "message.adviser")
