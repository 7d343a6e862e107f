"""What the work costs: the measured inputs of the model. Seconds, unless a name says otherwise.

Processor time was measured on two cores with little other work (load 0.6 to 1.4), Python 3.11, PostgreSQL 15,
2026-11-21:

- the call: `python -m benchmarks call`;
- claims, attempts and results: `python -m benchmarks row --permits 200` with `--chunk` 5, 20, 100, 250 and 1,000. A
  line through the microseconds of these chunks gives what a flush costs (fixed) and what a row costs;
- statements: counted in one flush of 100 rows, BEGIN among them; a COPY takes two round trips.
"""

from dataclasses import dataclass

US = 1e-6


@dataclass(frozen=True)
class Part:
    """One part of a flush, in processor seconds of the worker and of PostgreSQL, and its round trips."""

    worker: float = 0.0
    database: float = 0.0
    worker_row: float = 0.0
    database_row: float = 0.0
    trips: int = 0


@dataclass(frozen=True)
class Costs:
    """The defaults are measurements, except those that say "assumed"."""

    # IssueWork.call, a plain success: `benchmarks call`.
    call: float = 56 * US
    # What `benchmarks issuing` shows a worker to spend on a row, 139 microseconds, less the call and the parts below:
    # the dispatcher's own loop, log lines, Celery, beat. The least certain of all.
    rest: float = 24 * US

    # Write results: read and lock, COPY sessions, UPDATE jobs, UPDATE attempts, read the budget's troubles.
    results: Part = Part(750 * US, 650 * US, 26 * US, 34 * US, trips=7)
    # Read the budget's row: once by what it shows, and again under its lock if the account has limits.
    budget: Part = Part(200 * US, 80 * US, trips=1)
    # Lease rows: events first, then those of batches.
    claim: Part = Part(500 * US, 700 * US, 10 * US, 14 * US, trips=2)
    # Store the reserved slots, if the account has limits.
    reserve: Part = Part(200 * US, 100 * US, trips=1)
    # COPY attempts.
    attempts: Part = Part(200 * US, 320 * US, 10 * US, 11 * US, trips=2)
    # Count the credits. The budget's row is locked from here on if the account has no limits.
    credits: Part = Part(100 * US, 80 * US, trips=1)
    commit: Part = Part(150 * US, 150 * US, trips=1)
    # Read all permits; a row is one dispatcher's.
    permits: Part = Part(150 * US, 60 * US, 1 * US, 0.3 * US, trips=1)
    # Lock the budget's row, read again, delete, insert.
    renewal: Part = Part(600 * US, 300 * US, trips=4)
    # After a claim: BEGIN, the database's time, ROLLBACK (`Dispatcher._check_leases`).
    time_check: Part = Part(340 * US, 100 * US, trips=3)

    # Row versions that a customer writes: the lease, the attempt, the session, the job's result, the attempt's end.
    rows_of_a_claim: int = 2
    rows_of_a_result: int = 3

    round_trip: float = 200 * US  # assumed: two machines of one data centre
    fsync: float = 500 * US  # assumed: a server's SSD (190 microseconds on the machine of the measurements)
