"""From outside: what a provider says of an erased customer, by webhooks that match a session or none, does not stay."""

import hmac
import json
import signal
import urllib.request
from typing import Any

from tests.desk.desk import Desk, Played, customers
from tests.suite.of_features import needs
from tests.suite.waiting import ENDS_WITHIN, wait_until

REFUSED = {"overall": "DENIED", "fraudTags": ["FAKE_DOC"], "denyReasons": ["FACE_MISMATCH"]}


def tell(url: str, **said: Any) -> None:
    body = json.dumps({"final": True, "status": REFUSED} | said).encode()
    signature = hmac.new(b"sandbox-webhook-key", body, "sha256").hexdigest()
    post = urllib.request.Request(f"{url}/webhooks/kyc", body, {"Idenfy-Signature": signature})  # noqa: S310
    with urllib.request.urlopen(post, timeout=ENDS_WITHIN) as answer:  # noqa: S310 -- our own server
        assert answer.status == 200


@needs("service_desk")
def test_of_an_erased_customer_no_webhook_stays_and_no_mark_of_fraud(desk: Desk, played: Played):
    asked, waits = (one | {"country": "DE"} for one in customers(2))
    assert desk.onboard("run", desk.list_of([asked])).code == 0
    assert desk.onboard("import", desk.list_of([waits], "later.csv")).code == 0  # there is no session yet
    web = desk.start("web", "--bind", "127.0.0.1:0")
    assert web.stderr is not None
    url = next(line.split()[-1] for line in web.stderr if line.startswith("listening on "))

    def webhooks(condition: str) -> int:
        return int(desk.sql(f"SELECT count(*) FROM webhook WHERE {condition}")[0][0])  # noqa: S608

    tell(url, scanRef="3f2a9c1d7e664b12", clientId=waits["customer_id"])
    wait_until(lambda: webhooks("attempts = 1 AND encrypted IS NOT NULL") == 1, "it matches nothing, and is kept")

    erased = [desk.onboard("customer", "erase", one["customer_id"], "--yes", "--json") for one in (waits, asked)]

    assert [one.facts["erased"]["webhooks that match no session"] for one in erased] == [1, 0]
    assert webhooks("encrypted IS NOT NULL") == 0
    ((reference,),) = desk.sql("SELECT reference FROM session")
    tell(url, scanRef="4b2a9c1d7e664b12", clientId=waits["customer_id"])
    tell(url, scanRef=reference, clientId=asked["customer_id"])
    wait_until(lambda: webhooks("encrypted IS NULL AND due_at IS NULL") == 3, "both are taken, and emptied")
    assert desk.sql("SELECT state, result, reasons FROM session") == [("failed", "denied", "")]
    assert desk.end(web, signal.SIGTERM).code == 0
