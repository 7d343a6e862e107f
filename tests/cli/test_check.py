"""`onboard check`, and what every command that reads a list refuses."""

from pathlib import Path

import pytest

from tests.desk.desk import Desk, Played, customers

MIXED = (
    "customer_id,email,country,entity_id,channel\n"
    "A-1,one@example.com,DE,,\n"
    "A-2,nobody,DE,,\n"
    ",three@example.com,DE,,\n"
    "A-1,one@example.com,DE,,\n"
    "A-5,five@example.com,AU,7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77,\n"
    "A-6,,DE,,none\n"
)


def test_check_in_json_has_exactly_the_documented_keys(desk: Desk, played: Played):
    ended = desk.onboard("check", desk.write("mixed.csv", MIXED), "--json")
    facts = ended.facts
    assert ended.code == 1
    assert list(facts) == ["rows", "problems", "routes", "credits", "messages", "forecast"]
    assert facts["rows"] == {"total": 6, "accepted": 3, "rejected": 2, "duplicate": 1}
    assert facts["routes"] == {"au": 1, "kyc": 2}
    assert set(facts["credits"]) == {"au", "kyc"}
    assert set(facts["messages"]) == {"email", "sms"}
    assert set(facts["forecast"]) == {"finishes_at", "limited_by"}
    assert facts["forecast"]["finishes_at"].endswith("Z")
    for problem in facts["problems"]:
        assert list(problem) == ["row", "column", "problem", "hint"]
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [
        (3, "email"),
        (4, "customer_id"),
        (5, "customer_id"),
    ]
    assert played.sandbox.log == []


def test_the_worst_case_of_credits_and_messages_comes_from_the_caps(desk: Desk):
    desk.add("[reissue]\nmost = 2\n[invitations]\nmessages_per_customer = 5\nreminders = []\n")
    facts = desk.onboard("check", desk.list_of(customers(10, au=4)), "--json").facts
    assert facts["credits"] == {"au": 12, "kyc": 18}
    assert facts["messages"] == {"email": 30, "sms": 0}


def test_the_cap_of_messages_is_shown_for_both_channels_of_a_customer_together(desk: Desk):
    desk.add('[invitations]\nmessages_per_customer = 5\nfallback = "sms"\n')
    rows = [row | {"phone": f"+3706000000{n}", "channel": "both"} for n, row in enumerate(customers(3))]
    rows += [row | {"phone": "+37060000009"} for row in customers(4)[3:]]  # a text where the mail bounces
    facts = desk.onboard("check", desk.list_of(rows), "--json").facts
    assert facts["messages"] == {"email": 16, "sms": 16}
    assert "16 email, 16 sms, but 20 in total" in desk.onboard("check", desk.list_of(rows)).out
    assert "in all" not in desk.onboard("check", desk.list_of(customers(4))).out


def test_check_names_problems_without_the_value(desk: Desk):
    ended = desk.onboard("check", desk.write("bad.csv", "customer_id,email\nA-1,hemlig-adress\n"))
    assert ended.code == 1
    assert "row 2, email:" in ended.out
    assert "hemlig" not in ended.out + ended.err


def test_a_problem_and_its_hint_stay_on_one_line_where_output_is_not_a_terminal(desk: Desk):
    ended = desk.onboard("check", desk.write("bad.csv", "customer_id,email\nA-1,\n"))
    (line,) = [line for line in ended.out.splitlines() if line.startswith("row 2")]
    assert len(line) > 80
    assert line.endswith(")")


def test_check_writes_every_problem_as_csv(desk: Desk):
    text = "customer_id,email\n" + "".join(f"A-{n},nobody\n" for n in range(40))
    ended = desk.onboard("check", desk.write("bad.csv", text), "--errors", "errors.csv")
    lines = (desk.path / "errors.csv").read_text().splitlines()
    assert ended.code == 1
    assert lines[0] == "row,column,problem,hint"
    assert len(lines) == 41
    assert "30 more problems; see errors.csv" in ended.out


def test_duplicates_alone_are_no_problem(desk: Desk):
    listed = desk.list_of([*customers(2), customers(1)[0]])
    ended = desk.onboard("check", listed, "--json")
    assert ended.code == 0
    assert ended.facts["rows"]["duplicate"] == 1


def test_strict_refuses_a_list_with_a_refused_row_and_imports_nothing(desk: Desk, played: Played):
    listed = desk.write("mixed.csv", MIXED)
    for command in ("check", "run", "import"):
        ended = desk.onboard(command, listed, "--strict")
        assert ended.code == 2
        assert "2 of 6 rows" in ended.err
    assert desk.onboard("status", "--json").facts == {"batches": []}
    assert played.calls() == []
    assert desk.onboard("check", desk.list_of(customers(2)), "--strict").code == 0


@pytest.mark.parametrize("command", ["check", "run", "import"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00", ""),
        (b"\x00\x01\x02" * 500, ""),
        (b"customer_id,emial\nA-1,one@example.com\n", "--map emial=email"),
        (b"email\none@example.com\n", "customer_id"),
        (b"customer_id,customer_id\nA-1,A-2\n", "customer_id"),
    ],
)
def test_a_list_that_cannot_be_used_is_exit_2_with_the_reason(desk: Desk, played: Played, command, content, said):
    ended = desk.onboard(command, desk.write("list.csv", content))
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.lines
    assert desk.onboard("status", "--json").facts == {"batches": []}
    assert played.calls() == []


def test_an_unknown_column_names_the_nearest_and_both_ways_out(desk: Desk):
    listed = desk.write("list.csv", "customer_id,emial,colour\nA-1,one@example.com,red\n")
    ended = desk.onboard("check", listed)
    assert ended.code == 2
    for words in ("emial", "nearest is email", "--map emial=email", "--ignore-column emial", "colour"):
        assert words in ended.err
    taken = desk.onboard("check", listed, "--map", "emial=email", "--ignore-column", "colour", "--json")
    assert taken.facts["rows"]["accepted"] == 1


@pytest.mark.parametrize("missing", ["nowhere.csv", "secrets"])
def test_a_file_that_is_not_there_or_is_a_folder_is_exit_2(desk: Desk, missing: str):
    ended = desk.onboard("run", missing)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


def test_a_bad_map_is_a_usage_error(desk: Desk):
    ended = desk.onboard("check", desk.list_of(customers(1)), "--map", "Mail")
    assert ended.code == 2
    assert "THEIRS=OURS" in ended.err


def test_a_semicolon_list_with_a_byte_order_mark_in_cp1252_is_read(desk: Desk):
    rows = "customer_id;first_name;email\nA-1;Jürgen;one@example.com\n"
    ended = desk.onboard("check", desk.write("one.csv", b"\xef\xbb\xbf" + rows.encode()), "--json")
    assert ended.facts["rows"]["accepted"] == 1
    ended = desk.onboard("check", desk.write("two.csv", rows.encode("cp1252")), "--json", "--encoding", "cp1252")
    assert ended.facts["rows"]["accepted"] == 1


def test_ids_that_look_like_addresses_are_refused_unless_hashed(desk: Desk):
    listed = desk.write("ids.csv", "customer_id,email\nsomebody@example.com,one@example.com\n")
    refused = desk.onboard("check", listed, "--json")
    assert refused.facts["rows"]["rejected"] == 1
    assert "somebody" not in refused.out
    assert desk.onboard("check", listed, "--json", "--hash-ids").facts["rows"]["accepted"] == 1


def test_a_template_that_does_not_exist_is_found_before_anything_is_sent(desk: Desk):
    listed = desk.write("t.csv", "customer_id,email,template\nA-1,one@example.com,gold\n")
    ended = desk.onboard("check", listed, "--json")
    assert ended.code == 1
    (problem,) = ended.facts["problems"]
    assert (problem["row"], problem["column"], problem["hint"]) == (2, "template", "use one of default")


def test_a_problem_of_a_whole_row_names_no_column(desk: Desk):
    ended = desk.onboard("check", desk.write("wide.csv", "customer_id,email\nA-1,a@example.com,extra\n"))
    assert "row 2: 3 cells, but the header has 2" in ended.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_reported_and_is_not_a_bug(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    ended = desk.onboard("report", "latest", "--out", "/dev/full")
    assert ended.code == 1
    assert "the output is incomplete: No space left on device" in ended.err


def test_a_database_that_cannot_be_made_is_reported_with_what_to_do(desk: Desk):
    desk.change("sqlite:///onboarding.db", "sqlite:///nowhere/onboarding.db")
    ended = desk.onboard("status")
    assert ended.code == 2
    assert "its directory must exist and be writable" in ended.err
