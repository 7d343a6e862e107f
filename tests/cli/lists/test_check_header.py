"""What `onboard check` says of a list's header and encoding, and the block of the configuration that reads the list."""

import tomllib

from tests.desk.desk import Desk, Played, customers

THEIRS = "Customer No.,Mail,DOB,Title\nA-1,one@example.com,25/03/1980,Ms\nA-2,two@example.com,25/03/1980,Mr\n"


def test_two_columns_of_one_name_are_once_in_the_block(desk: Desk):
    listed = desk.write("notes.csv", "customer_id,email,Note,Note\nA-1,one@example.com,a,b\n")
    assert '\nignore = ["Note"]\n' in desk.onboard("check", listed).err


def test_check_ends_with_the_block_that_reads_the_list_without_options(desk: Desk, played: Played):
    listed = desk.write("theirs.csv", THEIRS)

    unknown = desk.onboard("check", listed)
    suggested = unknown.err.partition("for onboarding.toml:\n")[2]
    desk.add(suggested)
    hinted = desk.onboard("check", listed)
    dated = desk.onboard("check", listed, "--dates", "dd/mm/yyyy")
    desk.change(suggested, dated.out.partition("in place of these options:\n")[2])
    read = desk.onboard("check", listed)

    assert (unknown.code, unknown.out) == (2, "")
    assert tomllib.loads(suggested) == {
        "import": {
            "ignore": ["Title"],
            "columns": {"Customer No.": "customer_id", "Mail": "email", "DOB": "date_of_birth"},
        }
    }
    assert "warning: date_of_birth: 2 dates are in the form DD/MM/YYYY (read with --dates DD/MM/YYYY)" in hinted.out
    assert (read.code, "warning" in read.out, "onboarding.toml" in read.out) == (0, False, False)


def test_a_list_that_is_not_utf8_is_read_with_a_warning(desk: Desk):
    listed = desk.write("latin.csv", "customer_id,email,first_name\nA-1,one@example.com,Jürgen\n".encode("cp1252"))

    for command, said in (("check", "out"), ("import", "err")):
        assert "read as cp1252 (Windows-1252)" in getattr(desk.onboard(command, listed), said)


def test_an_unknown_column_names_the_nearest_and_both_ways_out(desk: Desk):
    listed = desk.write("list.csv", "customer_id,emial,colour\nA-1,one@example.com,red\n")
    ended = desk.onboard("check", listed)
    assert ended.code == 2
    for words in ("emial", "nearest is email", "--map emial=email", "--ignore-column emial", "colour"):
        assert words in ended.err
    taken = desk.onboard("check", listed, "--map", "emial=email", "--ignore-column", "colour", "--json")
    assert taken.facts["rows"]["accepted"] == 1


def test_a_bad_map_is_a_usage_error(desk: Desk):
    ended = desk.onboard("check", desk.list_of(customers(1)), "--map", "Mail")
    assert ended.code == 2
    assert "THEIRS=OURS" in ended.err
    unknown = desk.onboard("check", "customers.csv", "--map", "email=emial")
    assert unknown.code == 2
    assert "there is no column 'emial' to map 'email' to; did you mean email?" in unknown.err


def test_a_semicolon_list_with_a_byte_order_mark_in_cp1252_is_read(desk: Desk):
    rows = "customer_id;first_name;email\nA-1;Jürgen;one@example.com\n"
    ended = desk.onboard("check", desk.write("one.csv", b"\xef\xbb\xbf" + rows.encode()), "--json")
    assert ended.facts["rows"]["accepted"] == 1
    ended = desk.onboard("check", desk.write("two.csv", rows.encode("cp1252")), "--json", "--encoding", "cp1252")
    assert ended.facts["rows"]["accepted"] == 1


def test_the_configuration_says_the_words_of_lists_and_what_rows_without_a_word_have(desk: Desk):
    listed = desk.write("export.csv", "customer_id,email,Land,phone\nA-1,one@example.com,Teutonia,\nA-2,,,060000000\n")
    shown = desk.onboard("check", listed).err
    block = tomllib.loads(shown[shown.index("[import.columns]") :].replace("# ", ""))["import"]
    assert (block["columns"], set(block["values"])) == ({"Land": "country"}, {"country"})

    desk.config.write_text(
        desk.config.read_text(encoding="utf-8")
        + '[import]\ncountry = "LT"\ncolumns = { Land = "country" }\nvalues = { country = { Teutonia = "DE" } }\n',
        encoding="utf-8",
    )
    assert desk.onboard("check", listed, "--json").facts["rows"]["accepted"] == 2


def test_the_block_for_the_configuration_offers_words_for_each_column_that_has_unknown_ones(desk: Desk):
    rows = "A-1,one@example.com,Teutonia,privat,Teutonic\nA-2,two@example.com,DE,,de\n"
    shown = desk.onboard("check", desk.write("export.csv", f"customer_id,email,country,kind,locale\n{rows}")).out
    block = tomllib.loads(shown[shown.index("# [import.values]") :].replace("# ", ""))["import"]
    assert set(block["values"]) == {"country", "kind", "locale"}
    assert block["values"]["kind"] == {"privat": "OURS"}


def test_the_block_offers_no_words_for_what_the_configuration_cannot_do(desk: Desk):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nper_row = ["account"]')
    desk.add('[rights]\nlists = ["account"]\n')
    row = "A-1,one@example.com,company,kyc,Acme"
    ended = desk.onboard("check", desk.write("odd.csv", f"customer_id,email,kind,account,company_name\n{row}\n"))
    assert ("not companies" in ended.out, "[import.values]" in ended.out) == (True, False)
