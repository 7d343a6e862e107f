"""Claiming while done rows pile up: `python -m benchmarks.claiming`.

It answers two questions. Does a chunk of a hundred jobs cost the same with a million done jobs in the tables as with
ten thousand? And does the cost stay the same while rows change, between two vacuums? Times depend on the machine. The
number of pages that a step reads does not, so quote the pages, and their ratios to the smallest size.

Scratch databases on the server of TEST_POSTGRESQL_URL, whose user must be a superuser (for auto_explain).
"""

import argparse
import json
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from worker.domain.contact.caps import Caps
from worker.domain.limits.budgets import BudgetRule
from worker.domain.model.customers import Channel, Customer, Person
from worker.domain.model.endings import Done, RetryPolicy
from worker.domain.model.sessions import ExpirySource, Session
from worker.foundation.clock import system_clock
from worker.foundation.keyring import Keyring, new_key
from worker.store.base import schema
from worker.store.base.database import Database
from worker.store.base.job_ids import job_id
from worker.store.base.priorities import BATCH
from worker.store.issuing.claim_jobs import Jobs
from worker.store.issuing.issue_results import IssueResult
from worker.store.issuing.job_context import JobPolicy
from worker.store.limits.budgets import Budgets
from worker.store.limits.claims import Room
from worker.store.maintenance.expired_leases import ExpiredLeases
from worker.store.maintenance.expired_sessions import Expiring, ExpiryPolicy
from worker.store.maintenance.look import Looks
from worker.store.messages.claim_invitations import Invitations
from worker.store.messages.handovers import InviteResult
from worker.store.messages.message_context import InvitationPolicy
from worker.store.onboarding.admission import following
from worker.store.onboarding.batches import AcceptedLine, Batches
from worker.store.operators.report_rows import Facts
from worker.store.privacy.erasure import Erasing
from worker.store.privacy.purge import Purging

SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
CHUNK = 100
ROOM = Room(CHUNK, CHUNK)
CHUNKS = 7  # the reported figure is the median of this many chunks
POLICY = RetryPolicy()
TERMS = JobPolicy(
    account="kyc",
    provider="idenfy-kyc",
    rule=BudgetRule("kyc", (), 1000, None, POLICY),
    lease=timedelta(seconds=60),
    owner="bench:1",
    reissue_at=lambda expires_at: expires_at,
)
EMAILS = InvitationPolicy(
    channel="email",
    rule=BudgetRule("sender/email", (), 1000, None, POLICY),
    lease=timedelta(seconds=60),
    owner="bench:1",
    most_reissues=3,
)
EXPIRY = ExpiryPolicy(Caps(reissues=3, messages=9), spacing=timedelta(days=1), per_day=None)

FIRST = job_id(1, 0)
# The rows of a list of :done customers after its messages were sent; half of the customers have finished.
DONE = f"""
CREATE FUNCTION pg_temp.key(kind text, i int) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN (lpad(to_hex(i), 12, '0') || substr(md5(kind || i), 13))::uuid;
INSERT INTO batch (id, name, digest, generation, created_at, imported_at)
VALUES (1, 'done', 'done', 1, now() - interval '9 days', now() - interval '9 days');
SELECT setval(pg_get_serial_sequence('batch', 'id'), 1);
INSERT INTO customer (customer_id, kind, country, locale, timezone, encrypted, created_at, changed_at)
SELECT 'D-' || md5(i::text), 'individual', 'LT', 'lt', 'Europe/Vilnius', decode(repeat(md5(i::text), 9), 'hex'),
       now() - interval '9 days', now() - interval '9 days'
FROM generate_series(1, :done) i;
INSERT INTO job (id, batch_id, row, customer_id, purpose, channel, template, entity_id, account, route,
                 fallback_accounts, floor_seconds, state, priority, lease_owner, fence, attempts, waits, reissues,
                 reason, detail, result, session_id, created_at, changed_at, counted)
SELECT {FIRST} + i, 1, i, 'D-' || md5(i::text), 'onboarding', 'email', '', '', 'kyc', 'the last route', '', 43200,
       CASE WHEN mod(i, 2) = 0 THEN 'completed' ELSE 'invited' END, 10, 'bench:1', 1, 1, 0, 0, '', '',
       CASE WHEN mod(i, 2) = 0 THEN 'approved' ELSE '' END, pg_temp.key('s', i),
       now() - interval '9 days', now() - interval '9 days', 1
FROM generate_series(1, :done) i;
INSERT INTO session (id, customer_id, purpose, job_id, account, reference, "references", vendor, encrypted, sms_sent,
                     state, issued_at, expires_at, expiry_source, company_id)
SELECT pg_temp.key('s', i), 'D-' || md5(i::text), 'onboarding', {FIRST} + i, 'kyc', 'scan-' || i, '{{}}', '',
       decode(repeat(md5(i::text), 12), 'hex'), false, CASE WHEN mod(i, 2) = 0 THEN 'completed' ELSE 'waiting' END,
       now() - interval '9 days', now() - interval '2 days', 'answer', ''
FROM generate_series(1, :done) i;
INSERT INTO invitation (id, session_id, job_id, batch_id, channel, kind, state, priority, lease_owner, fence, attempts,
                        waits, reason, detail, reference, created_at, sent_at, counted)
SELECT pg_temp.key('i', i), pg_temp.key('s', i), {FIRST} + i, 1, 'email', 'invitation', 'sent', 10, 'bench:1', 1, 1,
       0, '', '', '', now() - interval '9 days', now() - interval '9 days', 1
FROM generate_series(1, :done) i;
INSERT INTO attempt (id, batch_id, job_id, invitation_id, account, fence, repeatable, opened_at, closed_at, outcome,
                     status, detail, counted)
SELECT pg_temp.key(kind, i), 1, {FIRST} + i, CASE WHEN kind = 'e' THEN pg_temp.key('i', i) END,
       CASE WHEN kind = 'e' THEN 'email' ELSE 'kyc' END, 1, kind = 'e', now() - interval '9 days',
       now() - interval '9 days', 'done', 201, '', 1
FROM generate_series(1, :done) i, (VALUES ('a'), ('e')) AS kinds (kind);
INSERT INTO batch_count (batch_id, kind, state, channel, account, result, reason, rows, sessions)
VALUES (1, 'job', 'completed', 'email', 'kyc', 'approved', '', :done / 2, :done / 2),
       (1, 'job', 'invited', 'email', 'kyc', '', '', :done - :done / 2, :done - :done / 2),
       (1, 'message', 'sent', 'email', '', '', '', :done, 0), (1, 'call', 'done', '', 'kyc', '', '', :done, 0);
"""


@dataclass
class Looked:
    """The cost of one step's statements: milliseconds at the server, pages read, plans."""

    milliseconds: float = 0.0
    pages: int = 0
    plans: list[dict[str, Any]] = field(default_factory=list)


class Watched:
    """The store over one database. The server reports each statement's plan and pages (auto_explain)."""

    def __init__(self, url: str) -> None:
        self._looked = Looked()
        self.database = Database(url)
        self.keyring = Keyring([new_key()])
        self.batches, self.facts = Batches(self.database, self.keyring), Facts(self.database, self.keyring)
        self.jobs = Jobs(self.database, self.keyring)
        self.invitations = Invitations(self.database, self.keyring)
        self.expired_leases, self.budgets = ExpiredLeases(self.database), Budgets(self.database)
        self.looks = Looks(self.database)
        self.expiring = Expiring(self.database, self.keyring)

    def watch(self) -> None:
        sa.event.listen(self.database.engine, "connect", self._explain)
        self.database.engine.dispose()

    def _explain(self, connection: Any, _record: Any) -> None:
        connection.execute("LOAD 'auto_explain'")
        for name, value in {"log_min_duration": "0", "log_analyze": "on", "log_buffers": "on"}.items():
            connection.execute(f"SET auto_explain.{name} = {value}")
        connection.execute("SET auto_explain.log_timing = off")  # a clock reading for each row would cost most
        connection.execute("SET auto_explain.log_format = json")
        connection.execute("SET client_min_messages = log")
        connection.commit()
        connection.add_notice_handler(self._reported)

    def _reported(self, notice: psycopg.errors.Diagnostic) -> None:
        head, _, plan = (notice.message_primary or "").partition("plan:\n")
        if not plan:
            return
        report = json.loads(plan)
        self._looked.milliseconds += float(head.split()[1])
        self._looked.pages += report["Plan"]["Shared Hit Blocks"] + report["Plan"]["Shared Read Blocks"]
        self._looked.plans.append(report)

    def cost(self, step: Callable[[], Any]) -> tuple[Any, Looked]:
        self._looked = Looked()
        answer = step()
        return answer, self._looked

    def fill(self, done: int) -> None:
        """Insert done rows, then vacuum and analyze as autovacuum would."""
        schema.upgrade(self.database)
        with self.database.write() as connection, _indexed_after(connection):
            for statement in DONE.replace(":done", str(done)).split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
        self.settle()
        self.budgets.ensure(["kyc", "sender/email"])

    def settle(self) -> None:
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")

    def add(self, rows: int) -> int:
        """Insert a list with waiting jobs."""
        name, now = uuid.uuid4().hex, system_clock()
        batch, _ = self.batches.open(name="list", digest=name, again=False, now=now)
        for start in range(0, rows, 1000):
            lines = [
                AcceptedLine(
                    row + 2,
                    Customer(f"{name}-{row}", person=Person(email=f"c{row}@example.org"), channel=Channel.EMAIL),
                    "kyc",
                    "",
                    600,
                )
                for row in range(start, min(start + 1000, rows))
            ]
            self.batches.add(batch.id, lines, [], priority=BATCH, now=now)
        self.batches.imported(batch.id, now=now)
        return batch.id

    def work(self, cost: Callable[[str, Callable[[], Any]], Any]) -> int:
        """Work one chunk from claim to hand-over, each step measured by `cost`. Returns the number of claimed jobs."""
        now = system_clock()
        opened = cost("claim jobs", lambda: self.jobs.flush(TERMS, [], ROOM, clock=system_clock)).opened
        results = [IssueResult(item, now, Done(), session=_session(now)) for item in opened]
        cost("write results of calls", lambda: self.jobs.flush(TERMS, results, None, clock=system_clock))
        handed = cost("claim messages", lambda: self.invitations.flush(EMAILS, [], ROOM, clock=system_clock)).opened
        sent = [InviteResult(item, now, Done()) for item in handed]
        cost("write results of hand-overs", lambda: self.invitations.flush(EMAILS, sent, None, clock=system_clock))
        return len(opened)


@contextmanager
def _indexed_after(connection: sa.Connection) -> Iterator[None]:
    """Make the filled tables' indexes after the rows: ten million rows of five tables would take 45 minutes with them.

    What is also a constraint stays: such keys are filled in their order, but for the customers'.
    """
    indexes = connection.exec_driver_sql(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = ANY (%s::regclass[])"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        (["customer", "job", "session", "invitation", "attempt"],),
    ).all()
    for name, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    yield
    connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    for _, made in indexes:
        connection.exec_driver_sql(made)


def _session(now: datetime) -> Session:
    token = uuid.uuid4().hex * 4
    return Session(
        token, f"https://verify.example.com/{token}", token[:20], now + timedelta(days=7), ExpirySource.ANSWER
    )


@contextmanager
def scratch() -> Iterator[Watched]:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(SERVER.replace("+psycopg", ""), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        watched = Watched(SERVER.rsplit("/", 1)[0] + f"/{name}")
        try:
            yield watched
        finally:
            watched.database.close()
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def at_size(done: int, *, plans: bool) -> dict[str, Looked]:
    """The cost of each step with this many done jobs in the tables: the median of several chunks."""
    costs: dict[str, list[Looked]] = {}
    with scratch() as store:
        store.fill(done)
        small = store.add(CHUNK * (CHUNKS + 10))
        store.settle()
        store.watch()

        def cost(name: str, step: Callable[[], Any]) -> Any:
            answer, looked = store.cost(step)
            costs.setdefault(name, []).append(looked)
            return answer

        for _ in range(CHUNKS):
            store.work(cost)
            now = system_clock()
            cost("due", lambda now=now: store.looks.look(accounts=["kyc"], channels=["email"], now=now))
            cost("budgets", store.budgets.all)
            cost("expiry scan, none ended", lambda now=now: store.expiring.check(EXPIRY, now=now))
            cost("leases, none lost", lambda now=now: store.expired_leases.end(POLICY, now=now))
            cost("counts, its batch", lambda: store.facts.counts(small))
            cost("outlook, its batch", lambda: store.facts.outlook(small))
            cost("following, 1000 new", lambda now=now: _following(store, "N-", now))
            cost("following, 1000 known", lambda now=now: _following(store, "D-", now))
        for _ in range(5):
            store.jobs.flush(TERMS, [], ROOM, clock=system_clock)
        later = system_clock() + timedelta(hours=1)
        cost("leases, 500 lost", lambda: store.expired_leases.end(POLICY, now=later))
        for _ in range(3):
            cost("counts, all done", lambda: store.facts.counts(1))
            cost("outlook, all done", lambda: store.facts.outlook(1))
        ended = system_clock() + timedelta(days=8)
        cost(f"expiry scan, {CHUNK * CHUNKS} ended", lambda: store.expiring.check(EXPIRY, now=ended))
        sizes = _bytes(store)
        _retention(store, cost)
    if plans:
        for name, looked in costs.items():
            for plan in looked[-1].plans:
                print(name, plan["Query Text"][:200].replace("\n", " "), *_nodes(plan["Plan"]), sep="\n    ")
    for name, size in sizes.items():
        print(f"  {name:<12} {size / done:6.0f} bytes a job")
    return {
        name: Looked(
            statistics.median(looked.milliseconds for looked in all_of_it),
            int(statistics.median(looked.pages for looked in all_of_it)),
        )
        for name, all_of_it in costs.items()
    }


def _retention(store: Watched, cost: Callable[[str, Callable[[], Any]], Any]) -> None:
    """Measure some chunks of retention: erasing customers, and purging the done batch."""
    erasing, purging = Erasing(store.database), Purging(store.database)
    now, after = system_clock(), None
    for _ in range(CHUNKS):
        since = now - timedelta(days=1)
        chunk = cost("erase 500", lambda after=after, since=since: erasing.chunk(after=after, since=since, now=now))
        after = chunk.after
    for _ in range(3):
        cost("may it be purged", lambda: purging.why_not(1, since=now, now=now))
    purging.begin(1, store.facts.counts(1), now=now)
    for _ in range(CHUNKS):
        cost("purge 500", lambda: purging.chunk(1, now=now))


def _following(store: Watched, prefix: str, now: datetime) -> None:
    with store.database.write() as connection:
        ids = [f"{prefix}{md5}" for md5 in _some_ids()]
        following(connection, {(customer_id, "onboarding") for customer_id in ids}, now=now)


def _some_ids() -> list[str]:
    import hashlib

    return [hashlib.md5(str(i).encode()).hexdigest() for i in range(1, 1001)]  # noqa: S324 -- as the rows were named


def _bytes(store: Watched) -> dict[str, int]:
    query = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 5"
    with store.database.read() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    return {**dict(rows), "all of it": sum(size for _, size in rows)}


def _nodes(plan: dict[str, Any], depth: int = 0) -> Iterator[str]:
    where = " ".join(name for name in (plan.get("Relation Name"), plan.get("Index Name")) if name)
    rows, pages = plan["Actual Rows"] * plan["Actual Loops"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    yield f"{'  ' * depth}{plan['Node Type']} {where}: {rows} rows, {pages} pages"
    for below in plan.get("Plans", ()):
        yield from _nodes(below, depth + 1)


def compare(sizes: list[int], *, plans: bool) -> None:
    found = {}
    for done in sizes:
        print(f"with {done:,} done jobs ...", flush=True)
        found[done] = at_size(done, plans=plans)
    print(f"\n{'step (chunk of 100)':<24}" + "".join(f"{done:>26,}" for done in sizes) + "    pages, last : first")
    for name, first in found[sizes[0]].items():
        cells = "".join(f"{found[done][name].milliseconds:>12.2f} ms {found[done][name].pages:>9,}p" for done in sizes)
        print(f"{name:<24}{cells}    {found[sizes[-1]][name].pages / max(first.pages, 1):.2f}")


def churn(done: int, rows: int, *, reset: bool) -> None:
    """Work many chunks one after the other, with the autovacuum settings of the server and of the tables."""
    with scratch() as store:
        store.fill(done)
        if reset:
            with store.database.write() as connection:
                for table in ("job", "attempt", "invitation", "session", "customer", "budget"):
                    names = [
                        f"autovacuum_{what}_{of}"
                        for what in ("vacuum", "analyze")
                        for of in ("scale_factor", "threshold")
                    ]
                    connection.exec_driver_sql(f"ALTER TABLE {table} RESET (fillfactor, {', '.join(names)})")
        store.add(rows)
        store.watch()
        with store.database.read() as connection:
            vacuum = connection.exec_driver_sql("SHOW autovacuum").scalar_one()
        tables = "tables with default settings" if reset else "tables as the migration sets them"
        print(f"\n{rows:,} jobs from claim to hand-over, {done:,} done jobs, {tables}, autovacuum {vacuum}")
        names = ("claim jobs", "finish attempts", "claim invitations", "finish hand-overs")
        print(f"{'jobs':>8}" + "".join(f"{name:>26}" for name in names) + f"{'jobs/s':>10}   vacuums")
        costs: dict[str, list[Looked]] = {}

        def cost(name: str, step: Callable[[], Any]) -> Any:
            answer, looked = store.cost(step)
            costs.setdefault(name, []).append(looked)
            return answer

        worked, began = 0, time.monotonic()
        while claimed := store.work(cost):
            worked += claimed
            if worked % (rows // 10) == 0:
                cells = "".join(
                    f"{statistics.median(one.milliseconds for one in costs[name]):>12.2f} ms"
                    f" {int(statistics.median(one.pages for one in costs[name])):>9,}p"
                    for name in names
                )
                speed = rows // 10 / (time.monotonic() - began)
                print(f"{worked:>8,}{cells}{speed:>10,.0f}   {_vacuums(store)}", flush=True)
                costs.clear()
                began = time.monotonic()
        time.sleep(1.5)  # the server updates its counters late
        print(f"{'table':<12}{'updates':>10}{'HOT':>10}{'dead':>10}")
        with store.database.read() as connection:
            for row in connection.exec_driver_sql(
                "SELECT relname, n_tup_upd, n_tup_hot_upd, n_dead_tup FROM pg_stat_user_tables"
                " WHERE n_tup_upd > 0 ORDER BY 2 DESC"
            ):
                print(f"{row[0]:<12}{row[1]:>10,}{row[2]:>10,}{row[3]:>10,}")


def _vacuums(store: Watched) -> str:
    query = "SELECT relname, autovacuum_count FROM pg_stat_user_tables WHERE autovacuum_count > 0 ORDER BY 1"
    with store.database.read() as connection:
        return " ".join(f"{row[0]} {row[1]}" for row in connection.exec_driver_sql(query))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claiming", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000", help="Numbers of done jobs to measure with.")
    parser.add_argument("--churn", type=int, default=100_000, help="Jobs to work from claim to hand-over; 0: none.")
    parser.add_argument("--beside", type=int, default=1_000_000, help="Done jobs in the tables meanwhile.")
    parser.add_argument("--reset", action="store_true", help="Measure also without the tables' own settings.")
    parser.add_argument("--plans", action="store_true", help="Print each step's last plan.")
    chosen = parser.parse_args(arguments)
    if chosen.sizes:
        compare([int(size) for size in chosen.sizes.split(",")], plans=chosen.plans)
    if chosen.churn:
        for reset in (True, False) if chosen.reset else (False,):
            churn(chosen.beside, chosen.churn, reset=reset)


if __name__ == "__main__":
    main()
