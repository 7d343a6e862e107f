"""`onboard init --list`: a list to fill in, and formats of lists as an operator meets them."""

from onboarding_worker.lists.formats.source import LIST_FORMATS
from tests.desk.desk import Desk
from tests.suite.of_features import needs
from tests.suite.some import some


def test_the_template_has_a_row_of_each_kind_that_is_accepted_in_each_format(desk: Desk):
    ended = desk.onboard("init", "--list", "lists", "--json")
    others = [f"lists/customers.{one.form}" for one in LIST_FORMATS.offered() if one.template]
    assert ended.facts == {"written": ["lists/customers.csv", *others]}
    for name in some(ended.facts["written"]):
        facts = desk.onboard("check", name, "--json").facts
        assert facts["rows"] == {"total": 3, "accepted": 3, "rejected": 0, "duplicate": 0}, name
    again = desk.onboard("init", "--list", "lists")
    assert (again.code, again.err) == (2, "lists/customers.csv exists, and is not replaced\n")


@needs("list_sources")
def test_an_address_that_cannot_be_fetched_is_exit_2_without_it(desk: Desk):
    ended = desk.onboard("check", "https://user:hemlig@localhost/list.csv?hemlig")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("list.csv cannot be fetched: a password in an address can be seen by others")
    assert "hemlig" not in ended.err
