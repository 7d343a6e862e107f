"""What a row that is filled in in a report may say to the provider: what `[rights] reports` gives, and nothing else;
and the brand and the account that it names."""

import pytest

from tests.desk.desk import Desk, Played
from tests.features.service_desk.test_returned_reports import edit

GIVEN = '["idenfy-kyc.checkAml"]'


@pytest.mark.parametrize(("rights", "sent"), [("lists", ["C-1"]), ("reports", ["C-1", "C-2"])])
def test_a_row_that_is_filled_in_has_the_right_of_reports_alone(
    desk: Desk, played: Played, rights: str, sent: list[str]
):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nper_row = ["checkAml"]')
    desk.add(f"[rights]\n{rights} = {GIVEN}\n")
    file = desk.write("list.csv", "customer_id,email,country\nC-1,one@example.com,DE\nC-2,no address,DE\n")
    assert desk.onboard("run", file).code == 1
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details")

    def fill_in(lines: list[dict[str, str]]) -> None:
        for line in lines:
            line["idenfy-kyc.checkAml"] = "false" if line["row"] == "3" else ""
        lines[1] |= {"customer_id": "C-2", "email": "two@example.com", "country": "DE"}

    ended = desk.onboard("run", edit(desk, "todo.csv", fill_in), "--json")

    assert [entry["client"] for entry in played.calls("idenfy-kyc")] == sent
    assert ended.code == (0 if rights == "reports" else 1), ended.err


@pytest.mark.parametrize("reports", ["[]", '["account"]'])
def test_a_row_that_is_filled_in_has_the_brand_that_it_names_and_the_account_with_the_right(
    desk: Desk, played: Played, reports: str
):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nper_row = ["account"]')
    desk.add(f'[rights]\nreports = {reports}\n[brand]\nname = "Example"\n[brand.nova]\nname = "Nova"\n')
    rows = "C-1,one@example.com,DE\nC-2,no address,DE\nC-3,no address,DE\n"
    file = desk.write("list.csv", f"customer_id,email,country\n{rows}")
    assert desk.onboard("run", file).code == 1
    desk.onboard("report", "1", "--out", "todo.csv", "--with-details", "--with-routes")

    def fill_in(lines: list[dict[str, str]]) -> None:
        assert (lines[0]["account"], lines[1]["account"], lines[1]["brand"]) == ("kyc", "", "")
        lines[1] |= {"customer_id": "C-2", "email": "two@example.com", "country": "DE", "brand": "nova"}
        lines[2] |= {"customer_id": "C-3", "email": "three@example.com", "country": "DE", "account": "kyc"}

    ended = desk.onboard("run", edit(desk, "todo.csv", fill_in), "--json")

    told = {mail.recipients[0]: mail.facts()["subject"].partition(":")[0] for mail in played.sandbox.mailbox}
    may = reports != "[]"
    third = {"three@example.com": "Example"} if may else {}
    assert told == {"one@example.com": "Example", "two@example.com": "Nova"} | third
    assert ended.code == (0 if may else 1), ended.err
