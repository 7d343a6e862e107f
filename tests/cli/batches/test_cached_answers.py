"""A cache before the provider: the first answer is every customer's. Nobody but its first customer gets its link."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.desk.desk import Desk, Played

TOKEN = "a-cached-token-0001"
ENTITIES = [f"7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a7{number}" for number in range(6)]
EXPIRY = "2099-01-01T00:00:00Z"  # not believed, so an hour


def frankieone_v1(_sent: dict[str, Any], _number: int) -> tuple[int, dict[str, Any]]:
    return 200, {"token": TOKEN, "tokenExpiry": EXPIRY, "entity": {"entityId": ENTITIES[0]}}


def frankieone_v2(_sent: dict[str, Any], _number: int) -> tuple[int, dict[str, Any]]:
    return 200, {"token": TOKEN, "tokenExpiry": EXPIRY}


def idenfy(sent: dict[str, Any], number: int) -> tuple[int, dict[str, Any]]:
    return 201, {"authToken": TOKEN, "scanRef": f"scan-{number}", "clientId": sent["clientId"], "expiryTime": 604800}


@contextmanager
def server(answer: Callable[[dict[str, Any], int], tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """The address of a server that answers each POST so: by its body, and its number."""
    numbers = iter(range(1000))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, found = answer(sent, next(numbers))
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    opened = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.server_port}"
    finally:
        opened.shutdown()
        thread.join()
        opened.server_close()


def rows(country: str, entities: list[str]) -> list[dict[str, str]]:
    return [
        {
            "customer_id": f"C-{number}",
            "first_name": "Ona",
            "last_name": "Kazlauskas",
            "date_of_birth": f"1990-01-0{number + 1}",
            "country": country,
            "email": f"ona{number}@example.org",
            "entity_id": entity,
        }
        for number, entity in enumerate(entities)
    ]


CACHED = {
    "FrankieOne v1": (frankieone_v1, "frankieone", "AU", [""] * 6),
    "FrankieOne v2, six entities": (frankieone_v2, "frankieone", "AU", ENTITIES),
    "iDenfy, with the right clientId": (idenfy, "idenfy", "DE", [""] * 6),
}


def run(desk: Desk, played: Played, base_url: str, family: str, listed: list[dict[str, str]]):
    desk.change(f"http://127.0.0.1:{played.sandbox.port}/{family}", base_url)
    return desk.onboard("run", desk.list_of(listed), "--json")


@pytest.mark.parametrize(("answer", "family", "country", "entities"), CACHED.values(), ids=CACHED)
def test_an_answer_for_everybody_is_sent_to_nobody_but_its_first_customer(
    desk: Desk, played: Played, answer, family, country, entities
):
    with server(answer) as base_url:
        ended = run(desk, played, base_url, family, rows(country, entities))
    assert ended.code == 1
    assert ended.facts["rows"]["held"] == 6
    assert any(account["stopped"] for account in ended.facts["accounts"].values())
    told = desk.onboard("report", "latest").table
    assert len(told) == 6
    assert all(line["error"].startswith("answer_repeated") for line in told)
    # Its first customer's message may have left before the second answer came.
    left = [f"ona{line['customer_id'][-1]}@example.org" for line in told if "may have left" in line["error"]]
    assert [mail.recipients[0] for mail in played.sandbox.mailbox] == left
    assert len(left) <= 1
    assert "answers repeat" in desk.onboard("status").out


def test_one_entity_that_all_rows_name_has_one_token(desk: Desk, played: Played):
    with server(frankieone_v2) as base_url:
        ended = run(desk, played, base_url, "frankieone", rows("AU", [ENTITIES[0]] * 6))
    assert (ended.code, ended.facts["rows"]["invited"], len(played.sandbox.mailbox)) == (0, 6, 6)
