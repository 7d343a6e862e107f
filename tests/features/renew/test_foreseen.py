"""`onboard check`: how many customers the next months ask again, and what that costs."""

from datetime import UTC, datetime, timedelta

from onboarding_worker.features.renew.section import after
from tests.desk.desk import Desk, customers

RENEW = """
[renew]
every = "24 months"
before = "30 days"
[retention]
personal = "1000 days"
"""
APPROVED = """
INSERT INTO renewal (customer_id, purpose, session_id, approved_at, why)
SELECT customer_id, purpose, id, ?, '' FROM session WHERE customer_id = ?
"""


def approved(desk: Desk, at: datetime, name: str) -> None:
    desk.sql(APPROVED, f"{at:%Y-%m-%d %H:%M:%S.%f}", name)


def test_check_says_how_many_renewals_each_month_brings_and_what_they_cost(desk: Desk):
    desk.change("[accounts.kyc]", '[accounts.kyc]\nprice = "0.90 EUR"')
    desk.change("[email]", '[email]\nprice = "0.01 EUR"')
    rows = customers(3)
    assert desk.onboard("run", desk.list_of(rows), "--yes").code == 0
    now = datetime.now(UTC)  # noqa: TID251 -- the command goes by the machine's clock
    due, soon, late = (now - timedelta(days=days) for days in (720, 650, 100))
    for row, at in zip(rows, (due, soon, late), strict=True):
        approved(desk, at, row["customer_id"])
    without = desk.onboard("check", "customers.csv")
    assert "renewals" not in without.out
    desk.add(RENEW)
    found = desk.onboard("check", "customers.csv", "--json").facts["renewals"]
    cost = {"customers": 1, "sessions": {"kyc": 1}, "messages": {"email": 1}, "cost": {"EUR": "0.91"}}
    assert found["due"] == cost
    falls_due = after(soon, 24) - timedelta(days=30)
    assert [month for month in found["months"] if month["customers"]] == [{"month": f"{falls_due:%Y-%m}", **cost}]
    assert len(found["months"]) == 12
    shown = desk.onboard("check", "customers.csv").out.splitlines()
    assert "  due now: 1 customer, 0.91 EUR" in shown
    assert f"  in {falls_due:%Y-%m}: 1 customer, 0.91 EUR" in shown
