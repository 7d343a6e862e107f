"""What a list of a command may say to the provider, from outside: by `check`, by `run`, and as the provider gets it."""

from tests.desk.desk import Desk, Played, customers

GUARDED = {
    "idenfy-kyc.callbackUrl": "https://evil.example/steal",
    "idenfy-kyc.tokenType": "DOCUMENT",
    "idenfy-kyc.checkLiveness": "false",
    "idenfy-kyc.checkAml": "false",
    "account": "kyc",
}
ALL = [name.removeprefix("idenfy-kyc.") for name in GUARDED]


def listed(names) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def give(desk: Desk, *, per_row=(), rights=()) -> None:
    """Write the account's list and that of `[rights] lists` into the configuration, in place of the present ones."""
    kept = [line for line in desk.config.read_text("utf-8").splitlines() if not line.startswith(("per_row", "lists ="))]
    if "[rights]" not in kept:
        kept.append("[rights]")
    kept.insert(kept.index("[rights]") + 1, f"lists = {listed(rights)}")
    kept.insert(kept.index("[accounts.kyc]") + 1, f"per_row = {listed(per_row)}")
    desk.config.write_text("\n".join(kept) + "\n", "utf-8")


def rows(desk: Desk) -> str:
    """A row for each guarded column, and a plain one."""
    lines = [row | {name: ""} for row, name in zip(customers(6), [*GUARDED, "account"], strict=True)]
    lines = [dict.fromkeys(GUARDED, "") | line for line in lines]
    for line, (name, value) in zip(lines, GUARDED.items(), strict=False):
        line[name] = value
    return desk.list_of(lines)


def test_each_column_that_needs_a_right_rejects_its_row_and_no_other(desk: Desk, played: Played):
    file = rows(desk)
    checked = desk.onboard("check", file, "--json").facts
    assert checked["rows"]["accepted"] == 1
    assert [one["column"] for one in checked["problems"]] == [*GUARDED]
    assert all("rights.lists" in one["hint"] and "per_row" in one["hint"] for one in checked["problems"])
    assert desk.onboard("run", file).code == 1
    sent = [entry["client"] for entry in played.calls("idenfy-kyc")]
    assert sent == ["C-0005"]


def test_with_both_each_value_goes_out_and_is_counted_where_a_person_looks(desk: Desk, played: Played):
    give(desk, per_row=ALL, rights=GUARDED)
    file = rows(desk)
    checked = desk.onboard("check", file)
    assert all(f"{name} 1" in checked.out for name in GUARDED)
    assert desk.onboard("check", file, "--json").facts["sets"] == dict.fromkeys(sorted(GUARDED), 1)
    assert desk.onboard("run", file).code == 0
    assert {entry["client"] for entry in played.calls("idenfy-kyc")} == {f"C-{n:04}" for n in range(6)}
    assert desk.onboard("status", "1", "--json").facts["sets"] == dict.fromkeys(sorted(GUARDED), 1)
    assert "idenfy-kyc.checkAml 1" in desk.onboard("status", "1").out
    desk.onboard("report", "1", "--format", "html", "--out", "report.html")
    assert "idenfy-kyc.tokenType 1" in (desk.path / "report.html").read_text("utf-8")


def test_a_right_that_is_gone_keeps_the_row_and_the_report_and_status_say_why_until_it_is_back(
    desk: Desk, played: Played
):
    give(desk, per_row=ALL, rights=GUARDED)
    file = rows(desk)
    assert desk.onboard("import", file).code == 0
    give(desk, per_row=ALL, rights=[])
    assert desk.onboard("run", file).code == 1  # a person must act
    assert [entry["client"] for entry in played.calls("idenfy-kyc")] == ["C-0005"]

    report = desk.onboard("report", "1").table
    kept = [line for line in report if line["state"] == "waiting"]
    assert len(kept) == 5
    assert all("right_missing" in line["error"] and "rights.lists" in line["error"] for line in kept)
    assert all("per_row" in line["action"] for line in kept)
    needs = desk.onboard("status", "--json").facts["needs_a_person"]
    assert [(one["what"], one["name"]) for one in needs if one["what"] == "right"] == [("right", "kyc")]

    give(desk, per_row=ALL, rights=GUARDED)
    assert desk.onboard("run", file).code == 0
    assert len(played.calls("idenfy-kyc")) == 6


def test_a_right_to_what_nobody_has_or_that_is_none_stops_the_start(desk: Desk):
    give(desk, per_row=["checkAmll"], rights=["idenfy-kyc.nothing"])
    desk.add("senders = { nobody = [] }\n")
    refused = desk.onboard("check", rows(desk))
    assert refused.code == 2
    for key in ("accounts.kyc.per_row", "rights.lists", "rights.senders.nobody"):
        assert key in refused.err
