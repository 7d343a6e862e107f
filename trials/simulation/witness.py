"""The witness: at its beats it reads what the product says to people, and later it looks again at what has happened.

It reads with the product's own functions, over parts of its own whose time is the true one, as a person at another
machine would: `status --json`, the report, and what features say (`customer show --json`, the page On call). The rules
(`rules/words.py`, `rules/numbers.py`) hold what it has read against what the outside saw, and against its second looks,
which read rows and nothing that is said.

Its beats: before an act of a person, and some minutes after it; in half of the histories a second after a fault; one of
the first moments in which nothing is due for a minute; and the end. At the last two it reads about some customers, too:
that takes the most time. Before each list is imported it asks what `check` forecasts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from onboarding_worker.cli.lists.foreseen import foreseen
from onboarding_worker.cli.lists.found_rows import ListFound
from onboarding_worker.core.database.job_ids import Key
from onboarding_worker.core.foundation.features import loaded
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.rules.contact import FIRST, PREFIX
from onboarding_worker.lists.importing.judging import judge_all
from onboarding_worker.lists.importing.list_import import USUAL, ImportChoices
from onboarding_worker.lists.lines import AcceptedLine, Line
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.added_lines import Adding
from onboarding_worker.plans.store.plans import Plan as ListPlan
from onboarding_worker.reporting.report_lines import line_values, wait_for
from onboarding_worker.reporting.row_groups import headline
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.reporting.store.processes import Running
from onboarding_worker.reporting.store.spending import Figures, spending_of, sum_of
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.wiring.container import Parts
from tests.simulated.statements import STATEMENTS
from tests.suite.of_features import of_features
from trials.simulation import chance
from trials.simulation.plan import Plan
from trials.simulation.world import START

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

QUIET = 60.0  # seconds: a moment is quiet if nothing is due for so long; and acts within so long are one
APART = 900.0  # seconds between two quiet moments, or two faults, that count
QUIETS = 3  # one of so many quiet moments is used
AT_ONCE = 2  # customers that it reads about at a look, one pair after the other
# After a time that was said, what waited for it has moved: each sweep comes within a minute. Where connections take
# seconds to open, and a busy process looks at them rarely, most calls miss their slots; under a limit of ten an hour
# each that is missed costs six minutes.
SLACK, SLACK_IN_A_SLOW_PLACE = 300.0, 1200.0
# By customer, what may move.
_ROWS = {
    "row": "SELECT customer_id, id, batch_id, state, reason, due_at, leader_id, attempts FROM job",
    "session": "SELECT customer_id, id, account, state, result, check_at, reference, given_away FROM session",
    "message": """SELECT session.customer_id, message.id, message.channel, message.state, message.reason,
        message.due_at, message.sent_at FROM invitation AS message JOIN session ON session.id = message.session_id""",
    "call": """SELECT job.customer_id, attempt.id, attempt.account, attempt.outcome, attempt.closed_at
        FROM attempt JOIN job ON job.id = attempt.job_id""",
}
# The customers whom a list that goes has not served yet, or whom the desk has given a message that has not left.
_BUSY = f"""
SELECT job.customer_id FROM job JOIN batch ON batch.id = job.batch_id
WHERE leader_id IS NULL AND job.state IN ('waiting', 'working', 'issued') AND batch.pause_cause = ''
UNION SELECT session.customer_id FROM invitation AS message JOIN session ON session.id = message.session_id
WHERE message.state IN ('waiting', 'working')
    AND (message.kind = '{FIRST}' OR substr(message.kind, 1, {len(PREFIX)}) = '{PREFIX}')
"""
# Of a list that was imported now: the rows that a session is asked for, and those that were refused. `check` also
# refuses the rows of who was erased since an earlier try added them.
_IMPORTED = """SELECT
    (SELECT count(*) FROM job WHERE batch_id = {batch} AND state = 'waiting' AND leader_id IS NULL
        AND NOT EXISTS (SELECT 1 FROM session WHERE session.customer_id = job.customer_id AND NOT past
        AND state IN ('waiting', 'started') AND expires_at > '{now:%Y-%m-%d %H:%M:%S.%f}')) AS asking,
    (SELECT count(*) FROM skipped_line WHERE batch_id = {batch} AND duplicate_of IS NULL AND known IS NULL)
        + (SELECT count(*) FROM job JOIN customer ON customer.customer_id = job.customer_id
        WHERE batch_id = {batch} AND customer.encrypted IS NULL) AS rejected,
    (SELECT count(*) FROM job WHERE batch_id = {batch} AND leader_id IS NOT NULL) AS joined
"""
Rows = frozenset[tuple[Any, ...]]


class Shown(NamedTuple):
    """A line of a report. `wait` None: it waits for nothing."""

    batch: int
    row: int
    customer: str
    values: Mapping[str, Any]
    wait: Wait | None


class Next(NamedTuple):
    """What comes next for a customer, as a page says it: until when nothing does, and what a person must do ("":
    nothing)."""

    customer: str
    until: datetime | None
    action: str
    words: str


@dataclass
class Look:
    """What is there at one moment, by customer; and what is said then, unless it is only a second look."""

    at: float
    why: str
    rows: Mapping[str, Rows]
    said: bool = False
    needs: Sequence[Wait] = ()  # of a person
    ending: Sequence[Wait] = ()  # accounts and senders that wait for a time
    batches: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    headlines: Mapping[int, str] = field(default_factory=dict)
    spent: Mapping[int, Figures] = field(default_factory=dict)
    lines: Sequence[Shown] = ()
    next: Sequence[Next] = ()
    of_features: Mapping[str, Any] = field(default_factory=dict)

    @property
    def customers(self) -> Mapping[str, Any]:
        """What `customer show --json` says of each."""
        found: Mapping[str, Any] = self.of_features.get("customers", {})
        return found


class Each(NamedTuple):
    """What `check` counts one customer as: the account of its session, and the channels of its first messages."""

    sessions: Sequence[str] = ()
    channels: Sequence[str] = ()


NOTHING = Each()


@dataclass(frozen=True)
class Forecast:
    """What `check --json` says of a list just before its import, and what the import finds of its rows, by name.
    `each`: who is in its numbers; None: where it changes addresses of a live link, that is only known of all together.
    `busy`: customers whom another list works then. `held`: it waits for a person's word."""

    at: float
    facts: Mapping[str, Any]
    found: dict[str, int] = field(default_factory=dict)
    customers: frozenset[str] = frozenset()
    each: Mapping[str, Each] | None = None
    busy: frozenset[str] = frozenset()
    plan: ListPlan | None = None
    held: bool = False


class Witness:
    def __init__(self, simulation: "Simulation") -> None:
        self._simulation, self._world = simulation, simulation.world
        self._quiet_at, self._struck_at, self._acted_at, self._quiets = -APART, -APART, -APART, 0
        self._shown = simulation.plan.seed  # customers: each history begins with others
        self._says = [loaded(place) for place in of_features("SAYINGS")]
        self.slack = slack_of(simulation.plan)
        with chance.untouched():
            self.parts = _parts(simulation)

    def close(self) -> None:
        self.parts.close()

    # Its beats.

    def acts(self, what: str) -> None:
        """A person is about to act."""
        if self._world.elapsed > self._acted_at + QUIET:
            self.look(f"before {what}", False)
        self._acted_at = self._world.elapsed
        self._world.later(self.slack, self._after, what)

    def _after(self, what: str) -> None:
        if self._world.elapsed >= self._acted_at + self.slack:  # nobody has acted since
            self.look(f"after {what}", False)

    def strikes(self) -> None:
        if self._world.elapsed > self._struck_at + APART and self._simulation.plan.seed % 2:
            self._struck_at = self._world.elapsed
            self._world.later(1.0, self.look, "a fault", False)

    def beats(self, ahead: float) -> None:
        """The next row is due so many seconds from now."""
        quiet = ahead > QUIET and not self._simulation.is_stormy
        if quiet and self._world.elapsed > self._quiet_at + APART:
            self._quiet_at, self._quiets = self._world.elapsed, self._quiets + 1
            if self._quiets == self._simulation.plan.seed % QUIETS + 1:
                self.look("a quiet moment")

    # What it sees.

    def look(self, why: str, of_customers: bool = True) -> None:
        with chance.untouched():
            seen = self._seen(why, of_customers)
        self._simulation.record.looks.append(seen)
        now = self._world.elapsed
        until = [seconds(one.until) for one in seen.next if one.until is not None and not one.action]
        ends = [one["forecast"]["finishes_at"] for one in seen.batches.values()]
        until += [seconds(one) for one in ends if one is not None]
        for at in sorted({ceil((max(one, now) + self.slack) / QUIET) * QUIET for one in until}):
            self._world.later(at - now, self._look_again)

    def _look_again(self) -> None:
        self._simulation.record.looks.append(Look(self._world.elapsed, "again", self._rows()))

    def _rows(self) -> Mapping[str, Rows]:
        found: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for what, query in _ROWS.items():
            for customer, *values in map(tuple, self._simulation.observer.rows(query)):
                found[customer].add((what, *values))
        return {customer: frozenset(rows) for customer, rows in found.items()}

    def _seen(self, why: str, of_customers: bool) -> Look:
        parts, rows = self.parts, self._rows()
        whole, reporting = parts.operation.report(), parts.reporting
        batches = parts.batches.all()
        counts = {one.id: parts.facts.counts(one.id) for one in batches}
        facts = {one.id: whole.with_what_is_worked(reporting.status(one, counts[one.id])) for one in batches}
        lines = [
            Shown(one.id, line.row, line.customer_id, line_values(line, columns), wait_for(line, columns))
            for one in batches
            for columns in [reporting.columns(one)]
            for line in parts.facts.lines(one.id)
        ]
        people, said = sorted(rows), dict[str, Any]()
        some = [people[(self._shown + index) % len(people)] for index in range(min(AT_ONCE, len(people)))]
        for says in self._says if of_customers else ():
            said |= says(parts, some, whole)
        self._shown += AT_ONCE * of_customers
        nexts = [Next(one.customer, one.wait.until, one.wait.step, one.wait.error) for one in lines if one.wait]
        nexts += [Next(*one) for one in said.get("next", ())]
        spent = {}
        if of_customers:
            spent = {one.id: sum_of(spending_of(parts.database, one.id).routes.values()) for one in batches}
        return Look(
            self._world.elapsed,
            why,
            rows,
            said=True,
            needs=whole.attention,
            ending=[one for one in whole.blocked if not one.action],
            batches=facts,
            headlines={id_: headline(one, counts[id_].corrected).sentence for id_, one in facts.items()},
            spent=spent,
            lines=lines,
            next=nexts,
            of_features=said,
        )

    # What `check` forecasts.

    def forecast(
        self,
        lines: Sequence[Line],
        name: str,
        choices: ImportChoices = USUAL,
        report: ReturnedReport | None = None,
        *,
        plan: ListPlan | None = None,
        held: bool = False,
    ) -> Forecast:
        """What `check` says of these lines, which are about to be imported with this plan."""
        parts, report = self.parts, report.foreseeing() if report is not None else None
        with chance.untouched(), self._complaining():
            calls = _Asked(parts.database, digest=name, rule=choices.rule)
            found, judged = ListFound(parts, calls), []
            for line in judge_all(parts.intake.of(), parts.batches, lines, choices, report=report):
                found.add(line)
                judged.append(line)
            found.cost.finish()
            cost = found.cost
            apart, joined = cost.beyond_cap(), calls.joined
            how: dict[str, Any] = {"apart": apart, "batch": None, "report": report, "alone": False, "joined": joined}
            facts = foreseen(parts, found.judged, cost.due, (), **how)
            busy = frozenset(row.customer_id for row in self._simulation.observer.rows(_BUSY))
        each = {
            line.customer.customer_id: said
            for line in judged
            if isinstance(line, AcceptedLine) and (said := calls.each_of(line)) is not None
        }
        each |= {
            one.customer_id: Each([one.account] if one.account else [], () if one.waits_until else one.channels)
            for one in (report.changes if report is not None else ())
        }
        facts |= {"returned": report is not None}
        customers = frozenset(
            line.customer.customer_id if isinstance(line, AcceptedLine) else line.customer_id for line in lines
        )
        known = None if found.judged.changed else each
        made = Forecast(self._world.elapsed, facts, {}, customers, known, busy, plan, held)
        self._simulation.record.forecasts.append(made)
        return made

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """The act that asks would only be tried again and again."""
        try:
            yield
        except Exception as error:
            self._simulation.record.complaints.append(f"check ends with {type(error).__name__}")
            raise

    def adopts(self, customers: Collection[str]) -> None:
        """`import --adopt` has taken these customers' sessions; it says that nothing is bought, and nothing sent."""
        none: dict[str, int] = {}
        facts: dict[str, Any] = dict.fromkeys(("now", "first_messages", "messages", "credits"), none)
        facts |= {"rows": none, "changed_addresses": 0, "forecast": dict.fromkeys(("finishes_at", "limited_by"))}
        facts["returned"] = False
        self._simulation.record.forecasts.append(Forecast(self._world.elapsed, facts, {}, frozenset(customers), {}))

    def takes_back(self, forecast: Forecast | None) -> None:
        """Nothing is imported of this list."""
        self._simulation.record.forecasts[:] = (one for one in self._simulation.record.forecasts if one is not forecast)

    def imported(self, forecast: Forecast, batch: int, found: Adding) -> None:
        """What the import has found of the same lines."""
        counts = self._simulation.observer.rows(_IMPORTED.format(batch=batch, now=self.parts.clock()))[0]
        changed = sum(bool(one.links) for one in found.changed)
        forecast.found["rejected"] = counts.rejected
        if not forecast.held:  # a list that waits for a person's word takes over no rows before it
            forecast.found.update(asking=counts.asking, joined=counts.joined)
            if forecast.plan is not None:  # that decides which of them go first; `check` is not told it
                forecast.found["asking or joined"] = forecast.found.pop("asking") + forecast.found.pop("joined")
        if not forecast.facts["returned"]:  # of a report the desk changes the addresses
            forecast.found["changed"] = changed


class _Asked(CallsNow):
    """Remembers for whom it said that a session is asked, or that a live one is gone on with."""

    def __init__(self, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        self._asked, self._left = set[Key](), dict[Key, set[str]]()

    def of(self, keys: Collection[Key], *, now: datetime) -> tuple[set[Key], dict[Key, set[str]]]:
        asked, go_on = super().of(keys, now=now)
        self._asked |= asked
        self._left |= go_on
        return asked, go_on

    def each_of(self, line: AcceptedLine) -> Each | None:
        key, channels = (line.customer.customer_id, line.customer.purpose), invitation_channels(line.customer.channel)
        if line.is_new or line.takes_id or key in self._asked:
            return Each([line.account], channels)
        if key in self._left and not line.old_links:
            return Each([], tuple(one for one in channels if one not in self._left[key]))
        return None


def slack_of(plan: Plan) -> float:
    return SLACK_IN_A_SLOW_PLACE if plan.stalls and (plan.turn or plan.hourly) else SLACK


def seconds(at: datetime | str) -> float:
    """The world's, of a time as the product says it."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return (moment - START).total_seconds()


def _parts(simulation: "Simulation") -> Parts:
    """Parts with the true time. In the database stands what the simulated processes do not say: that a worker runs,
    and that wake-ups come."""
    clock, ever = simulation.world.clock, START + timedelta(days=3650)
    parts = Parts(simulation.settings, clock=clock, database_clock=clock, jitter=lambda: 0.5)
    parts.database.engine.update_execution_options(compiled_cache=STATEMENTS)
    parts.__dict__["templates"] = simulation.templates
    parts.processes.started("simulated", Running("worker", "simulated", 1, __version__, None, START, ever))
    parts.processes.note_wake_up(now=ever)
    return parts
