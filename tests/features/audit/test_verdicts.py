"""From outside: a verdict that was written into the database by hand is not taken for the provider's."""

import json
import signal
import urllib.request

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs
from tests.suite.waiting import ENDS_WITHIN, wait_until


def results(desk: Desk) -> dict[str, tuple[str, bool]]:
    """What the report says of each customer, and whether it doubts it."""
    lines = desk.onboard("report", "latest", "--format", "csv").table
    return {line["customer_id"]: (line["result"], bool(line["error"])) for line in lines}


@needs("service_desk")
def test_a_verdict_by_sql_is_seen_in_the_report_at_the_customer_and_by_verify(desk: Desk, played: Played):
    web = desk.start("web", "--bind", "127.0.0.1:0")
    assert web.stderr is not None
    url = next(line.split()[-1] for line in web.stderr if line.startswith("listening on "))
    rows = [row | {"country": "DE"} for row in customers(3)]
    approved, denied, silent = (row["customer_id"] for row in rows)
    assert desk.onboard("run", desk.list_of(rows)).code == 0
    for who, does in ((approved, "finish"), (denied, "deny")):
        told = {"url": f"{url}/webhooks/kyc", "session": who, "does": does}
        post = urllib.request.Request(  # noqa: S310 -- the sandbox
            f"{played.sandbox.url}/_sandbox/customers", json.dumps(told).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(post, timeout=ENDS_WITHIN).close()  # noqa: S310
    wait_until(lambda: desk.onboard("status", "1", "--json").facts["rows"]["completed"] == 2, "both are decided")
    assert desk.end(web, signal.SIGTERM).code == 0
    assert results(desk) == {approved: ("approved", False), denied: ("denied", False), silent: ("", False)}
    verified = desk.onboard("audit", "verify", "--json")
    assert (verified.code, verified.facts["results"]["signed"]) == (0, 2)

    for table in ("session", "job"):
        mine = f"UPDATE {table} SET state = 'completed', result = 'approved' WHERE customer_id IN (?, ?)"  # noqa: S608
        desk.sql(mine, denied, silent)

    assert results(desk) == {approved: ("approved", False), denied: ("changed", True), silent: ("approved", True)}
    verified = desk.onboard("audit", "verify", "--json")
    assert (verified.code, verified.facts["whole"], verified.facts["changed_results_of"]) == (1, True, [denied])
    assert verified.facts["results"] | {"its key is missing": 0} == verified.facts["results"]
    assert [verified.facts["results"][what] for what in ("signed", "not signed", "changed")] == [1, 1, 1]
    for who, verdict in ((approved, "signed"), (denied, "changed"), (silent, "not signed")):
        shown = desk.onboard("customer", "show", who, "--json").facts
        assert [one["verdict"] for one in (*shown["jobs"], *shown["sessions"])] == [verdict] * 2
        assert ("(the result " in desk.onboard("customer", "show", who).out) is (verdict != "signed")
