"""One Celery task for each customer, as it is usually written; the customers are rows of a table.

    NAIVE_…=… celery -A benchmarks.naive worker -c 2

The settings are Celery's own defaults. The connection to the database is kept from one task to the next. NAIVE_KEEP=1
keeps the connection to the provider too; plain `requests.post` does not.
"""

import os
from functools import cache

import psycopg
import requests
from celery import Celery
from cryptography.fernet import Fernet

SCHEMA = """
create table customer (
    id text primary key,
    email text not null,
    country text not null,
    reference text,
    token bytea,
    issued_at timestamptz
)
"""

app = Celery("naive", broker=os.environ.get("NAIVE_BROKER", "memory://"))
app.conf.task_ignore_result = True


@cache
def database() -> psycopg.Connection:
    return psycopg.connect(os.environ["NAIVE_DATABASE"])


@cache
def fernet() -> Fernet:
    return Fernet(os.environ["NAIVE_KEY"])


@cache
def http() -> requests.Session:
    return requests.Session()


@app.task(autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=5)
def issue(customer_id: str) -> None:
    """Open a session and store its token."""
    post = http().post if os.environ.get("NAIVE_KEEP") else requests.post
    with database().transaction(), database().cursor() as cursor:
        cursor.execute("select country, token from customer where id = %s", [customer_id])
        country, token = cursor.fetchone()
        if token is not None:
            return
        answer = post(
            os.environ["NAIVE_URL"] + "/api/v2/token",
            json={"clientId": customer_id, "tokenType": "IDENTIFICATION", "country": country},
            auth=("key", "secret"),
            timeout=10,
        )
        answer.raise_for_status()
        session = answer.json()
        cursor.execute(
            "update customer set token = %s, reference = %s, issued_at = now() where id = %s",
            [fernet().encrypt(session["authToken"].encode()), session["scanRef"], customer_id],
        )
