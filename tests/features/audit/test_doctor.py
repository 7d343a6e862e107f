"""`onboard doctor` reads the end of the audit log."""

from tests.desk.desk import Desk, Ended, customers
from tests.suite.of_features import needs


@needs("doctor")
def test_the_end_of_the_audit_log_is_verified(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    (found,) = of_log(desk.onboard("doctor", "--json"))
    assert (found["grade"], found["found"][:19]) == ("ok", "its head is signed,")
    desk.sql("DROP TRIGGER audit_update")
    desk.sql("UPDATE audit SET actor = 'another' WHERE number = 1")
    ended = desk.onboard("doctor", "--json")
    (found,) = of_log(ended)
    assert (ended.code, found["grade"], "entry 1 was changed" in found["found"]) == (1, "failure", True)


def of_log(ended: Ended) -> list[dict[str, str]]:
    return [one for one in ended.facts["findings"] if one["what"] == "audit log"]
