"""An operator's decisions about a batch, one line each, and rows to decide about."""

from onboarding_worker.core.model.endings import Cancel, Hold, Kind
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Decided, Which
from tests.stored.shelf import Shelf

OUTCOME_UNKNOWN = Hold(Kind.UNKNOWN.value, "it may have been carried out")


def pause(shelf: Shelf, decide: Decisions, batch: int) -> Decided:
    return decide.pause(batch, by="ann", now=shelf.clock())


def retry(shelf: Shelf, decide: Decisions, batch: int, **which) -> Decided:
    return decide.retry(Which(batch, **which), now=shelf.clock())


def resolve(shelf: Shelf, decide: Decisions, batch: int, verdict: Verdict, **which) -> Decided:
    return decide.resolve(Which(batch, **which), verdict, now=shelf.clock())


def names(jobs) -> list[str]:
    return sorted(job.customer.customer_id for job in jobs)


def fail(shelf: Shelf, *, ending=None, **how) -> None:
    """Claim all due jobs. Each call ends with this ending."""
    opened = shelf.open(shelf.claim(**how))
    shelf.finish(*(shelf.failed(item, Kind.BAD_INPUT, ending or Cancel("bad_input", "no")) for item in opened))


def adds_up(shelf: Shelf, batch: int, lines: int) -> None:
    counts = shelf.facts.counts(batch)
    assert sum(counts.jobs.values()) + counts.rejected + counts.duplicate == lines
    assert len(list(shelf.facts.lines(batch))) == lines
