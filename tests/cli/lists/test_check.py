"""`onboard check`, and what every command that reads a list refuses."""

import gzip
import re
import resource
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from onboarding_worker.cli.opening import said_once
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

DOCUMENTED = Path(__file__).parents[3] / "docs/reference/list-format.md"


def test_the_documented_screen_is_what_check_shows(bare: Desk):
    bare.onboard("init", "--sandbox")
    rows = [{"email": f"c{row}@example.com", "country": "LT"} for row in range(2, 62)]
    for row in range(11, 31):
        rows[row - 2]["email"] = f"c-{row:03}.example.com"
    rows[40]["country"] = rows[41]["country"] = "UK"
    rows[42]["phone"] = "4.4791E+11"
    rows[43] |= {"account": "kyc-uk", "template": "welcom"}
    titles = ("email", "phone", "country", "account", "template")
    lines = (f"C-{number},{','.join(row.get(title, '') for title in titles)}" for number, row in enumerate(rows))
    bare.write("customers.csv", f"customer_id,{','.join(titles)}\n" + "\n".join(lines))
    screen = DOCUMENTED.read_text(encoding="utf-8").partition("$ onboard check ")[2].partition("```")[0]
    words, _, expected = screen.partition("\n")

    shown = bare.onboard("check", *words.split()).out

    # It leaves out lines and ends of cells; the columns have other widths, and the time is another.
    pattern = re.sub(r"[-\d]+T[\d:]+Z|…", "*", expected.replace("[", "[[]"))
    assert fnmatchcase(" ".join(shown.split()), " ".join(pattern.split())), shown


def test_check_in_json_has_exactly_the_documented_keys(desk: Desk, played: Played):
    ended = desk.onboard("check", desk.write("mixed.csv", MIXED), "--json")
    facts = ended.facts
    assert ended.code == 1
    assert list(facts) == [
        *(
            "rows",
            "problems",
            "warnings",
            "changed_addresses",
            "routes",
            "languages",
            "without_language",
            "channels",
            "countries",
            "without_country",
            "served",
            "now",
            "credits",
            "first_messages",
            "messages",
            "forecast",
        ),
        *("batch", "unsent", "refused", "words"),
    ]
    assert (facts["batch"], facts["unsent"], facts["refused"]) == (None, 0, None)
    assert facts["rows"] == {"total": 6, "accepted": 3, "rejected": 2, "duplicate": 1}
    assert facts["routes"] == {"au": 1, "kyc": 2}
    assert set(facts["credits"]) == {"au", "kyc"}
    assert set(facts["messages"]) == {"email", "sms"}
    assert set(facts["forecast"]) == {"finishes_at", "limited_by", "assumed"}
    assert facts["forecast"]["finishes_at"].endswith("Z")
    for problem in facts["problems"]:
        assert list(problem) == ["row", "column", "problem", "hint"]
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [
        (3, "email"),
        (4, "customer_id"),
        (5, "customer_id"),
    ]
    assert played.sandbox.log == []


def test_a_customer_whose_message_of_a_stopped_list_may_have_left_joins_it(desk: Desk, played: Played):
    desk.onboard("run", desk.list_of(customers(2), "first.csv"))
    desk.sql("UPDATE batch SET pause_cause = 'interrupt', pause_reason = 'stopped', paused_at = created_at")
    desk.sql("UPDATE job SET state = 'issued'")
    desk.sql("UPDATE invitation SET state = 'waiting', sent_at = NULL")
    desk.sql("UPDATE invitation SET state = 'held', reason = 'unknown' WHERE job_id = (SELECT min(id) FROM job)")
    other = desk.list_of(customers(3), "other.csv")
    assert desk.onboard("check", other, "--json").facts["rows"]["joined"] == 1
    desk.onboard("import", other)
    assert desk.sql("SELECT count(*) FROM job WHERE batch_id = 2 AND leader_id IS NOT NULL") == [(1,)]


def test_a_row_whose_own_lifetime_leaves_no_time_to_send_its_link_is_refused_with_its_column(desk: Desk):
    desk.change('accounts = ["kyb"]', 'accounts = ["kyb"]\nfreshness = "12 hours"')
    rows = "customer_id,kind,company_name,email,idenfy-kyb.lifetime\n"
    rows += "K-1,company,Ostrander,a@example.com,3600\nK-2,company,Ostrander,b@example.com,86400\n"
    rows += "K-3,company,Ostrander,c@example.com,\n"
    facts = desk.onboard("check", desk.write("companies.csv", rows), "--json").facts
    assert facts["rows"]["accepted"] == 2
    (problem,) = facts["problems"]
    assert (problem["row"], problem["column"]) == (2, "idenfy-kyb.lifetime")
    assert problem["problem"] == 'its link would live "1 hour", and must leave with "12 hours" or more'
    assert problem["hint"] == "give more than 43200 seconds, or lower the route's `freshness`"


def test_a_number_that_gets_no_texts_is_named_with_its_column_and_never_repeated(desk: Desk):
    desk.change("[sms]", '[sms]\ncountries = ["LT"]')
    rows = "customer_id,phone,email,channel,country\n"
    rows += "P-1,+37090012345,,sms,LT\nP-2,+4915112345678,,sms,LT\nP-3,+37060000001,,sms,LT\n"
    rows += "P-4,+37090012345,four@example.com,email,LT\n"
    ended = desk.onboard("check", desk.write("numbers.csv", rows), "--json")
    assert ended.facts["rows"]["accepted"] == 2
    found = [(one["row"], one["column"], one["problem"]) for one in ended.facts["problems"]]
    assert found == [
        (2, "phone", "a premium-rate number"),
        (3, "phone", "a number of DE, which [sms] countries does not have"),
    ]
    assert "90012345" not in ended.out + ended.err


def test_a_landline_gets_no_text_and_refuses_a_row_that_has_nothing_else(desk: Desk):
    rows = "customer_id,phone,email,channel,country\n"
    rows += "P-1,+493012345678,,sms,DE\nP-2,+493012345678,two@example.com,both,DE\n"
    rows += "P-3,030 12345679,three@example.com,,DE\nP-4,+4915112345678,four@example.com,both,DE\n"
    facts = desk.onboard("check", desk.write("numbers.csv", rows), "--json").facts
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [(2, "phone")]
    warned = [(one["row"], one["column"]) for one in facts["warnings"] if one["row"]]
    assert warned == [(3, "phone"), (4, "phone")]
    assert facts["messages"] == {"email": 12, "sms": 4}  # with three reissues each


def test_a_name_that_is_none_is_left_out_or_refused_where_the_provider_needs_one(desk: Desk):
    rows = "customer_id,email,first_name,last_name,company_name,country\n"
    rows += "N-1,n1@example.com,NULL,NULL,-,LT\nN-2,n2@example.com,Christopher,Null,,US\n"
    rows += "N-3,n3@example.com,Ona,MÃ¼ller,,LT\nN-4,n4@example.com,{{first_name}},Smith,,AU\n"
    rows += "N-5,n5@example.com,,,,AU\n"
    facts = desk.onboard("check", desk.write("names.csv", rows), "--json").facts
    assert [(one["row"], one["column"]) for one in facts["problems"]] == [(5, "first_name")]
    warned = [(one["row"], one["column"]) for one in facts["warnings"]]
    assert warned == [(2, "first_name"), (2, "last_name"), (2, "company_name"), (4, "last_name")]


def test_a_list_with_texts_is_warned_of_where_no_countries_are_named(desk: Desk):
    texts = desk.write("texts.csv", "customer_id,phone,country\nP-1,+37060000001,LT\n")
    everywhere = desk.onboard("check", texts)
    mails = desk.onboard("check", desk.list_of(customers(2)))
    desk.change("[sms]", '[sms]\ncountries = ["LT"]')
    named = desk.onboard("check", texts)

    assert (everywhere.code, named.code) == (0, 0)
    assert "warning: the list: texts may go to every country" in everywhere.out
    assert "(name the countries of your customers in [sms] countries)" in everywhere.out
    assert "every country" not in mails.out + named.out


def test_doubtful_parameters_of_rows_and_accounts_are_warned_of(desk: Desk):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nper_row = ["documents"]')
    desk.add('[accounts.kyc.parameters]\nexpiryTime = 30\n[rights]\nlists = ["idenfy-kyc.documents"]\n')
    rows = "customer_id,email,country,idenfy-kyc.documents\nA-1,a@example.com,DE,PASPORT\n"
    rows += "A-2,b@example.com,DE,PASSPORT\n"
    ended = desk.onboard("check", desk.write("list.csv", rows), "--errors", "errors.csv", "--json")
    assert (ended.code, ended.facts["rows"]["accepted"]) == (0, 2)
    (warning,) = ended.facts["warnings"]
    assert (warning["row"], warning["column"]) == (2, "idenfy-kyc.documents")
    assert warning["problem"] == "is not a documented name"
    assert "2,idenfy-kyc.documents,is not a documented name,,warning" in (desk.path / "errors.csv").read_text("utf-8")
    assert "warning: accounts.kyc.parameters.expiryTime: is below 60" in ended.lines
    assert desk.onboard("status").err == ""  # it is about what is stored alone
    assert "PASPORT" not in ended.err


def test_the_same_warning_of_many_accounts_is_said_once_with_the_first_of_them():
    said = [f"accounts.{name}.webhook_keys: accounts.a has the same key: a copy" for name in "bcdef"]
    said.insert(1, "accounts.b.parameters.expiryTime: is below 60")
    said += ["TLS is off for database.url", 'accounts."k y".parameters.expiryTime: is below 60']
    assert said_once(said) == [
        "accounts.b.webhook_keys, accounts.c.webhook_keys, accounts.d.webhook_keys and 2 more:"
        " accounts.a has the same key: a copy",
        'accounts.b.parameters.expiryTime, accounts."k y".parameters.expiryTime: is below 60',
        "TLS is off for database.url",
    ]


def test_rows_that_share_an_address_are_warned_of(desk: Desk):
    rows = customers(4)
    rows[3]["email"] = rows[1]["email"].upper()
    ended = desk.onboard("check", desk.list_of(rows), "--json")
    (warning,) = ended.facts["warnings"]
    assert (ended.code, warning["row"], warning["column"]) == (0, 5, "email")
    assert warning["problem"] == "the same mailbox as row 3"
    assert rows[1]["email"] not in ended.out + ended.err


def told(desk: Desk, text: str) -> list[tuple[int, str, str]]:
    facts = desk.onboard("check", desk.write("list.csv", text), "--json").facts
    return [(one["row"], one["column"], one["problem"]) for one in facts["warnings"]]


def test_the_same_address_in_two_rows_of_one_customer_is_warned_of_and_another_is_refused(desk: Desk):
    """The owners of one company: all links would go to one of them."""
    owners = "customer_id,purpose,email\nC-1,ann,ann@example.com\nC-1,bob,bob@example.com\n"
    refused = desk.onboard("check", desk.write("list.csv", owners), "--json")
    assert refused.code == 1
    assert [(one["row"], one["column"]) for one in refused.facts["problems"]] == [(3, "email")]
    assert told(desk, owners.replace("bob@", "ANN@")) == [(3, "email", "the same mailbox as row 2")]
    assert told(desk, owners.replace("C-1,bob", "C-2,bob")) == []
    tagged = owners.replace("C-1,bob,bob@", "C-2,bob,ann+bob@")  # which `messages_per_address` counts as one
    assert told(desk, tagged) == [(3, "email", "the same mailbox as row 2")]


def test_two_customers_with_one_entity_are_warned_of(desk: Desk):
    entity = "11111111-2222-4333-8444-555555555555"
    rows = (
        f"customer_id,purpose,email,country,entity_id\nC-1,,a@example.com,AU,{entity}\nC-2,,b@example.com,AU,{entity}\n"
    )
    assert told(desk, rows) == [(3, "entity_id", "the same entity_id as row 2, which has another customer_id")]
    same = rows.replace("C-2,,b@", "C-1,more,a@")
    assert told(desk, same) == [(3, "email", "the same mailbox as row 2")]


def test_check_names_problems_without_the_value(desk: Desk):
    ended = desk.onboard("check", desk.write("bad.csv", "customer_id,email\nA-1,hemlig-adress\n"))
    assert ended.code == 1
    assert "  2  email   13 characters without an @" in ended.out
    assert "hemlig" not in ended.out + ended.err


def test_a_problem_and_its_hint_stay_on_one_line_where_output_is_not_a_terminal(desk: Desk):
    ended = desk.onboard("check", desk.write("bad.csv", "customer_id,email\nA-1,\n"))
    (line,) = [line for line in ended.out.splitlines() if "fill in email or phone" in line]
    assert len(line) > 80
    assert line.endswith("or set channel to none")


def test_check_writes_every_problem_as_csv(desk: Desk):
    text = "customer_id,email\n" + "".join(f"A-{n},nobody\n" for n in range(40))
    ended = desk.onboard("check", desk.write("bad.csv", text), "--errors", "errors.csv")
    lines = (desk.path / "errors.csv").read_text().splitlines()
    assert ended.code == 1
    assert lines[0] == "row,column,problem,hint,severity,customer_id,email"
    assert lines[1].endswith(",error,A-0,nobody")
    assert len(lines) == 41
    assert "  40  email   6 characters without an @  give an address such as name@example.com\n" in ended.out
    assert "the first 20:" in ended.out
    assert "20 more problems; see errors.csv" in ended.out


def test_what_only_the_configuration_knows_is_named_beside_a_bad_country(desk: Desk):
    header = "customer_id,email,phone,channel,country,account,template\n"
    rows = "A-1,one@example.com,12345678901234567890,email,Q1,nowhere,nothing\nA-2,x@example.com,,,XK,,\n"

    ended = desk.onboard("check", desk.write("bad.csv", header + rows), "--json")

    named = {(one["row"], one["column"]) for one in ended.facts["problems"]}
    assert named == {(2, "phone"), (2, "country"), (2, "account"), (2, "template")}
    assert ended.facts["rows"]["accepted"] == 1


def test_a_line_break_in_a_cell_is_named_with_its_column(desk: Desk):
    text = 'customer_id,email,first_name,address\nA-1,one@example.com,"Ona\nMaria","1 Street\nTown"\n'
    (problem,) = desk.onboard("check", desk.write("bad.csv", text), "--json").facts["problems"]
    assert (problem["row"], problem["column"], problem["problem"]) == (2, "first_name", "it has 2 lines")


UNUSED = "customer_id,email,date_of_birth\nA-1,one@example.com,25/03/1980\nA-2,two@example.com,1980-03-12\n"


def test_a_bad_value_in_a_column_that_nothing_uses_is_a_warning(desk: Desk, played: Played):
    listed = desk.write("dates.csv", UNUSED)

    ended = desk.onboard("check", listed, "--errors", "errors.csv")
    facts = desk.onboard("check", listed, "--json").facts
    sent = desk.onboard("run", listed)

    assert "warning: date_of_birth: 1 date is in the form DD/MM/YYYY (read with --dates DD/MM/YYYY)" in sent.err
    assert ended.code == 0
    assert "warning: row 2, date_of_birth: 10 characters that are not YYYY-MM-DD; left out" in ended.out
    assert (desk.path / "errors.csv").read_text().splitlines()[2].endswith(",warning,,,")
    assert facts["problems"] == []
    assert [(one["row"], one["column"]) for one in facts["warnings"]] == [(None, "date_of_birth"), (2, "date_of_birth")]
    assert (sent.code, len(played.calls())) == (0, 2)


def test_the_same_warning_of_many_rows_is_said_once_with_their_number_and_the_first_of_them(desk: Desk):
    lines = [f"A-{row},box{row % 3}@example.com,25/03/1980" for row in range(1, 31)]
    listed = desk.write("dates.csv", "\n".join(["customer_id,email,date_of_birth", *lines]))

    ended = desk.onboard("check", listed, "--errors", "errors.csv")

    warned = [line for line in ended.out.splitlines() if line.startswith("warning: ")]
    assert [line.partition(": ")[2].split(" that ")[0].split(" (each")[0] for line in warned] == [
        "date_of_birth: 30 dates are in the form DD/MM/YYYY (read with --dates DD/MM/YYYY)",
        "30 rows (2, 3, 4, …), date_of_birth: 10 characters",
        "27 rows (5, 6, 7, …), email: such as: the same mailbox as row 2",
    ]
    assert "each warning with its row: see errors.csv" in ended.out
    assert len((desk.path / "errors.csv").read_text().splitlines()) == 1 + 58
    assert len(desk.onboard("check", listed, "--json").facts["warnings"]) == 58


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('provider = "idenfy-kyc"', 'provider = "idenfy-kyc"\nprefill = "all"'),
        ("when = { country =", "when = { date_of_birth = true, country ="),
    ],
)
def test_a_bad_value_in_a_column_that_an_account_or_a_route_uses_rejects_its_row(desk: Desk, old: str, new: str):
    text = desk.config.read_text()
    desk.config.write_text(text.replace(old, new, 1))

    facts = desk.onboard("check", desk.write("dates.csv", UNUSED), "--json").facts

    assert [(one["row"], one["column"]) for one in facts["problems"]] == [(2, "date_of_birth")]
    assert [one["row"] for one in facts["warnings"]] == [None]  # the form of the dates


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
    assert desk.onboard("status", "--json").facts["batches"] == []
    assert played.calls() == []
    assert desk.onboard("check", desk.list_of(customers(2)), "--strict").code == 0


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
def test_a_list_that_cannot_be_used_is_exit_2_with_the_reason(desk: Desk, played: Played, content, said, subtests):
    for command in ("check", "run", "import"):
        with subtests.test(command=command):
            ended = desk.onboard(command, desk.write("list.csv", content))
            assert (ended.code, ended.out) == (2, "")
            assert said in ended.err
            assert ended.lines
    assert desk.onboard("status", "--json").facts["batches"] == []
    assert played.calls() == []


@pytest.mark.parametrize("missing", ["nowhere.csv", "secrets"])
def test_a_file_that_is_not_there_or_is_a_folder_is_exit_2(desk: Desk, missing: str):
    ended = desk.onboard("run", missing)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


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
    assert "  2  the row  3 cells, but the header has 2" in ended.out


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one(desk: Desk):
    rows = "".join(f"C-{n},nobody\n" for n in range(1500))
    desk.write("errors.csv", "of an earlier check")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        ended = desk.onboard("check", desk.write("bad.csv", f"customer_id,email\n{rows}"), "--errors", "errors.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ended.code, ended.lines[-1]) == (1, "--errors: File too large; errors.csv was not written")
    assert (desk.path / "errors.csv").read_text() == "of an earlier check"
    assert not list(desk.path.glob(".*.part"))


def test_a_compressed_list_for_which_there_is_no_space_is_exit_2(desk: Desk):
    rows = "".join(f"C-{n},nobody.{n}@example.com\n" for n in range(5000))
    listed = desk.write("packed.csv.gz", gzip.compress(f"customer_id,email\n{rows}".encode()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        ended = desk.onboard("check", listed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("the gzip file cannot be decompressed on this machine: File too large; set TMPDIR\n")


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


def test_blank_lines_are_no_rows_however_many_they_are(desk: Desk):
    lists = {"list.csv": "customer_id,email\r%sA-1,x\r", "list.jsonl": '%s{"customer_id": "A-1", "email": "x"}\n'}
    for name, text in lists.items():
        end = "\r" if name.endswith("csv") else "\n"
        facts = desk.onboard("check", desk.write(name, text.replace("%s", end * 300_000)), "--json").facts
        assert facts["rows"]["total"] == 1
        assert [one["row"] for one in facts["problems"]] == [300_002 if end == "\r" else 300_001]


def test_what_rejects_no_row_by_itself_is_a_warning_in_a_row_that_is_rejected_for_something_else(desk: Desk):
    rows = "A-1,one,LT,31.12.1990\nA-2,two@example.com,Atlantis,31.12.1990\nA-3,three,AU,31.12.1990\n"
    listed = desk.write("dates.csv", f"customer_id,email,country,date_of_birth\n{rows}")

    facts = desk.onboard("check", listed, "--json").facts

    causes = [(one["row"], one["column"]) for one in facts["problems"]]
    assert causes == [(2, "email"), (3, "country"), (4, "email"), (4, "date_of_birth")]  # au sends it to its provider
    assert [(one["row"], one["column"]) for one in facts["warnings"] if one["row"]] == [
        (2, "date_of_birth"),
        (3, "date_of_birth"),
    ]
