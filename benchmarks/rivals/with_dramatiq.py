"""`dramatiq benchmarks.rivals.with_dramatiq`; `python -m benchmarks.rivals.with_dramatiq ROWS` makes the messages.

Threads, as dramatiq's users write actors; each thread keeps its connections.
"""

import os
import sys
import threading

import dramatiq
import psycopg
import requests
from cryptography.fernet import Fernet
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["RIVAL_BROKER"]))
FERNET = Fernet(os.environ["RIVAL_KEY"])


class Kept(threading.local):
    """The connections of one thread."""

    def __init__(self) -> None:
        self.database = psycopg.connect(os.environ["RIVAL_DATABASE"], autocommit=True)
        self.http = requests.Session()
        self.http.auth = ("key", "secret")


kept = Kept()


@dramatiq.actor
def issue(customer_id: str) -> None:
    query = "select country, token from customer where id = %s"
    country, token = kept.database.execute(query, [customer_id]).fetchone()
    if token is not None:
        return
    answer = kept.http.post(
        os.environ["RIVAL_URL"] + "/api/v2/token",
        json={"clientId": customer_id, "tokenType": "IDENTIFICATION", "country": country},
        timeout=10,
    )
    answer.raise_for_status()
    session = answer.json()
    kept.database.execute(
        "update customer set token = %s, reference = %s, issued_at = now() where id = %s",
        [FERNET.encrypt(session["authToken"].encode()), session["scanRef"], customer_id],
    )


if __name__ == "__main__":
    for row in range(1, int(sys.argv[1]) + 1):
        issue.send(f"C-{row}")
