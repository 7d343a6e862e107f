"""What a row that is filled in in a report may say to the provider: what `[rights] reports` gives, and nothing else."""

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
