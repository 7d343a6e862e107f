"""Chaos: a list and events, three workers, two beats, two consumers; all are killed again and again, and servers too.

    python -m trials.chaos                                   one run of 10,000 rows, from a random seed
    python -m trials.chaos --runs 10 --seed 1                seeds 1 to 10, over both brokers and both pools in turn
    python -m trials.chaos --seed 7 --rows 500 --broker redis --pool prefork

Then each promise is checked. The run has its own database, broker and sandbox, on free ports, in a folder that is
removed after it; the machine's own servers are not touched. Only the sandbox is never killed: the checks compare
everything with what it received. docs/inside/trials.md describes the blows and the checks.
"""

import argparse
import contextlib
import dataclasses
import json
import random
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

import psycopg

from onboarding_worker.settings.load import load
from trials.blows import BLOWS, JOURNAL, Strike, Target, draw
from trials.case import ISSUING, Cap, Case
from trials.customers import ACCOUNTS, listed, write_list
from trials.evidence import by_customer, gather
from trials.kept_counts import untrue_counts_at
from trials.leaks import leaks
from trials.producer import id_of
from trials.promises import broken, late_calls, refused_by_limit, second_copies
from trials.servers import Postgres, RabbitMq, Redis, Server, missing
from trials.stage import Stage

SIGNUPS = 7  # one customer in so many, of each account in turn, is not on the list: an event asks for it meanwhile
COMBINATIONS = (("amqp", "threads"), ("redis", "prefork"), ("amqp", "prefork"), ("redis", "threads"))
SHOWN = 20  # the most complaints that are printed; the folder has all of them
PAUSE = 1.1  # seconds that an account pauses after a 429
RATE_LIMITED = 0.02  # the share of calls that get a 429
FAULTS = (
    f"--fault 429:{RATE_LIMITED},retry-after=1 --fault 500:0.01 --fault drop-after:0.005 --latency 20ms "
    "--fault 500:0.01,endpoint=twilio --fault drop-after:0.005,endpoint=twilio --smtp-fault drop-after:0.005"
).split()
# The seconds that the worker adds to lease and time-out before it reconciles a call (docs/reference/lost-answers.md).
LOOK_UP_MARGIN = 5.0


@dataclass(frozen=True)
class Plan:
    """One run. `seconds`: over this time the limits alone spread the calls. `lease` is in seconds."""

    seed: int
    rows: int
    broker: str
    pool: str
    seconds: float
    blows: int
    lease: float
    timeout: float

    @property
    def span(self) -> float:
        """About how long the work takes without blows: the time of the limits and of the pauses."""
        return self.seconds + RATE_LIMITED * PAUSE * 0.4 * self.rows

    def caps(self, *, uncounted: int = 0) -> dict[str, Cap]:
        """The configured budgets. The sandbox enforces the same limits for iDenfy and for texts."""

        def rate(share: float) -> int:
            return max(round(share * self.rows / self.seconds), 2)

        return {
            # A look-up counts as a call.
            "kyc": Cap(frozenset({"idenfy-kyc", "idenfy-kyc-list"}), rate(0.4)),
            # Fewer credits than rows, so that the cap is reached.
            "kyb": Cap(frozenset({"idenfy-kyb"}), rate(0.2), self.rows * 18 // 100, frozenset({"kyb"}), uncounted),
            "au": Cap(frozenset({"frankieone-v1", "frankieone-v2"}), rate(0.4)),
            "sms": Cap(frozenset({"twilio", "twilio-list"}), rate(0.8)),
        }

    def enforced(self) -> list[str]:
        """The sandbox's options for the limits that it enforces."""
        caps = self.caps()
        return [
            part
            for endpoint, name in (("idenfy-kyc", "kyc"), ("idenfy-kyb", "kyb"), ("twilio", "sms"))
            for part in ("--limit", f"{endpoint}={caps[name].rate:g}/second")
        ]

    def configuration(self, database: str, broker: str) -> dict[str, str]:
        caps = self.caps()
        values = {
            "database.url": database,
            "broker.url": broker,
            "bus.url": broker,
            "privacy.journal": JOURNAL,
            "worker.lease": f"{self.lease:g} s",
            "email.timeout": f"{self.timeout:g} s",
            "sms.timeout": f"{self.timeout:g} s",
            "sms.limits": f'["{caps["sms"].rate:g}/second"]',
            "accounts.kyb.budget": "kyb",
            "accounts.kyb.credits": str(caps["kyb"].credits),
        }
        for name in ("kyc", "kyb", "au"):
            values[f"accounts.{name}.limits"] = f'["{caps[name].rate:g}/second"]'
        for name in ACCOUNTS.values():
            values[f"accounts.{name}.timeout"] = f"{self.timeout:g} s"
        return values


@dataclass
class Outcome:
    """The result of one run."""

    plan: Plan
    wrong: list[str]
    line: str
    folder: str = ""


def run(plan: Plan) -> Outcome:
    """Run once, from empty servers to the checks. If there are complaints, the folder is kept."""
    with Stage(f"onboarding-chaos-{plan.seed}-") as stage:
        wrong: list[str] = []
        line = f"seed {plan.seed} {plan.broker} {plan.pool}: the run did not end"
        try:
            broker = (
                RabbitMq(stage.folder / "rabbitmq")
                if plan.broker == "amqp"
                else Redis(stage.folder / "redis", keeps=True)
            )
            with contextlib.closing(broker):
                broker.start(wait=False)  # RabbitMQ starts more slowly than the other servers together
                with Postgres(stage.folder / "postgresql") as postgres:
                    line, found = _played(plan, stage, postgres, broker)
                wrong += found
        except (RuntimeError, OSError, psycopg.Error) as error:
            wrong.append(f"the run itself failed: {type(error).__name__}: {error}")
        finally:
            for data in ("postgresql/data", "rabbitmq/mnesia"):
                shutil.rmtree(stage.folder / data, ignore_errors=True)
        if wrong:
            stage.keep = True
            (stage.folder / "wrong.txt").write_text("\n".join([line, *wrong]) + "\n")
        return Outcome(plan, wrong, line, str(stage.folder))


def _played(plan: Plan, stage: Stage, postgres: Postgres, broker: Server) -> tuple[str, list[str]]:
    customers = listed(plan.rows)
    signups = [one for one in customers if one.index % SIGNUPS == 0]  # events ask for these
    on_list = [one for one in customers if one.index % SIGNUPS]
    write_list(stage.folder / "list.csv", on_list)
    stage.play([*FAULTS, *plan.enforced(), "--seed", str(plan.seed)])
    stage.configure(plan.configuration(postgres.url, broker.url))
    stage.run("db", "upgrade")
    settings = load(stage.folder / "onboarding.toml", environ=stage.environ)
    chance = random.Random(f"{plan.seed}/targets")
    target = Target(stage, postgres, broker, settings, plan.pool, plan.lease, chance, on_list, signups, plan.seconds)
    broker.wait()
    target.start_all()
    stage.run("import", "list.csv")
    target.start_producer()
    began = time.monotonic()
    struck, wrong = _struck(plan, target, len(signups))
    seconds = time.monotonic() - began
    target.put_right()
    wrong += [complaint for _, complaint in target.ended_by_themselves()]
    postgres.wait()
    wrong += stuck(postgres) if not settled(postgres, len(signups)) else []
    for producer in target.producers:
        producer.join()
        wrong += [producer.failed] if producer.failed else []
    wrong += stage.end_warmly([one for processes in target.running.values() for one in processes])
    wrong += stage.left_behind()
    batches = [str(row["id"]) for row in postgres.rows("select id from batch")]
    report = [line for batch in batches for line in stage.report(batch)]
    evidence = gather(postgres.rows, stage.url, report)
    evidence = by_customer(evidence, {one.customer_id: one.row for one in customers})
    events = [id_of(one) for one in signups]
    caps = plan.caps(uncounted=target.uncounted)
    looked_up = plan.timeout + LOOK_UP_MARGIN
    case = Case(customers, evidence, caps, plan.lease, looked_up, target.stops, events, target.restores)
    wrong += broken(case) + list(leaks(stage.logs, evidence)) + untrue_counts_at(postgres.url)
    if wrong:
        (stage.folder / "blows.txt").write_text("\n".join(target.notes) + "\n")
        (stage.folder / "evidence.json").write_text(json.dumps(dataclasses.asdict(evidence), indent=0))
    return summary(plan, case, struck=struck, seconds=seconds), wrong


def _struck(plan: Plan, target: Target, events: int) -> tuple[int, list[str]]:
    """Strike all blows, then wait until no work is left. Returns the number of blows struck, and complaints."""
    strikes: list[Strike] = draw(plan.seed, plan.blows, seconds=plan.span)
    wrong: list[str] = []
    struck = 0
    next_at = time.monotonic() + (strikes[0].after if strikes else 0)
    deadline = time.monotonic() + 2 * plan.span + 20 * plan.lease + 60
    while time.monotonic() < deadline:
        began = time.monotonic()
        target.tick()
        deadline += time.monotonic() - began  # a restore takes as long as its commands
        for name, complaint in target.ended_by_themselves():
            target.note(complaint)
            wrong.append(complaint)
            target.start(name)
        if struck < len(strikes) and time.monotonic() >= next_at:
            BLOWS[strikes[struck].blow](target, strikes[struck].downtime)
            struck += 1
            next_at = time.monotonic() + (strikes[struck].after if struck < len(strikes) else 0)
        if settled(target.postgres, events) and (target.whole or struck == len(strikes)):
            if target.whole:
                break
            target.put_right()
        time.sleep(0.2)
    if struck < len(strikes):
        target.note(f"{len(strikes) - struck} blows came too late: the work was done")
    return struck, wrong


# A row that waits for credit is not counted: its account has stopped at its cap.
LEFT = """
select
  (select count(*) from job where state in ('working', 'issued')
     or (state = 'waiting' and not (account = 'kyb' and exists
       (select 1 from budget where name = 'kyb' and stopped_at is not null))))
  + (select count(*) from invitation where state in ('waiting', 'working')) as number,
  (select count(*) from inbox) as events
"""
STUCK = {
    "jobs": "select account, state, reason, detail, due_at, lease_until, count(*) from job"
    " where state in ('waiting', 'working', 'issued') group by 1, 2, 3, 4, 5, 6 order by 7 desc limit 20",
    "invitations": "select channel, state, reason, due_at, lease_until, count(*) from invitation"
    " where state in ('waiting', 'working') group by 1, 2, 3, 4, 5 order by 6 desc limit 20",
    "budgets": "select * from budget",
    "clock": "select now()",
}


def settled(postgres: Postgres, events: int) -> bool:
    """True if so many events are stored, and no work is left. False while the database cannot be used."""
    try:
        (row,) = postgres.rows(LEFT)
        return bool(row["number"] == 0 and row["events"] >= events)
    except psycopg.OperationalError:
        return False


def stuck(postgres: Postgres) -> list[str]:
    """A complaint for each unfinished piece of work, with its reason for waiting."""
    return [f"it_comes_to_an_end: {what}: {row}" for what, query in STUCK.items() for row in postgres.rows(query)]


def summary(plan: Plan, case: Case, *, struck: int, seconds: float) -> str:
    """One line with the facts of the run."""
    evidence = case.evidence
    states = Counter(job.state for job in evidence.jobs)
    calls = evidence.received.calls
    facts = {
        "rows": plan.rows,
        "blows": struck,
        "seconds": round(seconds),
        "invited": states["invited"],
        "held": states["held"],
        "without credit": states["waiting"],
        "repeated emails": second_copies(case),
        "unknown attempts": sum(attempt.outcome == "unknown" for attempt in evidence.attempts),
        "look-ups": sum(attempt.reconciles for attempt in evidence.attempts),
        "calls": sum(call["endpoint"] in ISSUING for call in calls),
        "refused": sum(refused_by_limit(call) for call in calls),
        "late": late_calls(case, plan.lease),
    }
    line = ", ".join(f"{name} {number}" for name, number in facts.items())
    held = Counter(job.account for job in evidence.jobs if job.state == "held")
    line += "; held by account: " + ", ".join(f"{name} {number}" for name, number in sorted(held.items()))
    return f"seed {plan.seed} {plan.broker} {plan.pool}: {line}"


def planned(seed: int, *, rows: int, broker: str | None, pool: str | None, blows: int | None) -> Plan:
    """The plan of a seed. Short runs have shorter leases, so that a lease can expire in them."""
    by_turns = COMBINATIONS[seed % len(COMBINATIONS)]
    long = rows > 1000
    return Plan(
        seed=seed,
        rows=rows,
        broker=broker or by_turns[0],
        pool=pool or by_turns[1],
        seconds=max(rows / 200, 5),
        blows=blows if blows is not None else (3 if long else 1) * len(BLOWS),
        lease=12 if long else 11,  # the least that the configuration allows
        timeout=2 if long else 1,
    )


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trials.chaos", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--seed", type=int, help="seed of the first run; the next runs count up from it")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--blows", type=int, help="number of blows; by default three of each kind (one in short runs)")
    parser.add_argument("--broker", choices=["amqp", "redis"], help="by default the seed decides")
    parser.add_argument("--pool", choices=["threads", "prefork"], help="by default the seed decides")
    chosen = parser.parse_args()
    first = chosen.seed if chosen.seed is not None else secrets.randbelow(10_000)
    signal.signal(signal.SIGTERM, _end)  # so that SIGTERM ends the started processes too
    outcomes = []
    for seed in range(first, first + chosen.runs):
        plan = planned(seed, rows=chosen.rows, broker=chosen.broker, pool=chosen.pool, blows=chosen.blows)
        if reason := missing(plan.broker):
            print(f"chaos: {reason}", file=sys.stderr)
            return 2
        print(f"seed {seed}: {plan.rows} rows, {plan.broker}, {plan.pool}", flush=True)
        outcomes.append(run(plan))
        outcome = outcomes[-1]
        print(outcome.line)
        for complaint in outcome.wrong[:SHOWN]:
            print(f"  WRONG: {complaint}")
        if outcome.wrong:
            print(f"  {len(outcome.wrong)} in all; details in {outcome.folder}")
        print(flush=True)
    if len(outcomes) > 1:
        print("\n".join(f"{'FAILED' if outcome.wrong else 'passed'} {outcome.line}" for outcome in outcomes))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
