"""`onboard up`: everything in one process."""

from collections.abc import Callable
from functools import partial

import click

from worker.cli.commands.web import address, key_to_look, putting_back, show_address
from worker.cli.exits import NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation
from worker.cli.lists.listed import refuse_what_cannot_work
from worker.cli.running.summary import lift_stopped
from worker.cli.running.work import line_of
from worker.core.foundation.clock import monotonic
from worker.core.foundation.notation import counted
from worker.core.model.states import BatchState
from worker.core.model.wakeups import Wake
from worker.http import event_loop
from worker.lists.store.batches import BatchFacts
from worker.reporting.batch_report import state_of
from worker.reporting.store.counts import BatchCounts
from worker.runtime.all_in_one import Intake, work_everything
from worker.runtime.embedded import AlreadyWorking, Outdated, sole_worker
from worker.settings.model import Settings
from worker.settings.policies import buys_on_click
from worker.wiring.container import Parts

LOOK_SECONDS = 10.0  # between two looks at the batches' progress
LOOK_SHARE = 0.1  # the looks take at most this share of the time
# How often ended batches are counted too: `retry` or a late result may open one again.
LOOK_AGAIN_SECONDS = 600.0
OVER = (BatchState.FINISHED, BatchState.CANCELLED)


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen.  [default: bind of [web], 127.0.0.1:8080]")
@click.option("--yes", is_flag=True, help="Also work batches that were stopped with Ctrl-C, without asking.")
@click.pass_obj
def up(invocation: Invocation, bind: str | None, yes: bool) -> None:
    """Run everything in one process, until ended: worker, scheduler, web, and bus if there is a [bus] or a broker.

    For one machine without a broker. Import lists with `onboard import LIST` in another terminal, or send events over
    HTTP. The process handles webhooks, expired sessions, reissues and reminders all the time. Batches that were stopped
    with Ctrl-C stay stopped, unless you agree. `onboard status --watch` shows the progress. On SQLite no other process
    can work on the database; on PostgreSQL other workers can.

    SIGTERM or Ctrl-C ends it: it claims no more work, and finishes calls in flight. Exit codes: 0 ended by a signal,
    1 the database was upgraded to a newer release, 2 could not start.
    """
    with invocation.parts(migrate=True) as parts:
        settings = parts.settings
        host, port = address(settings, bind)
        refuse_what_cannot_work(parts)
        web_parts, key = Parts(settings, meters=parts.meters), key_to_look(host)

        def started(listens_on: int) -> None:
            show_address(settings, host, listens_on, key)
            click.echo("working; add a list with `onboard import LIST`, end with Ctrl-C", err=True)

        try:
            with sole_worker(parts, "up"):
                _lift_stopped(parts, yes=yes)
                parts.resume()
                if stopped := parts.emergency_stops.find():
                    click.echo(f"{stopped.in_words}; nothing is sent until `onboard resume --all`", err=True)
                with parts.heartbeat("up"):
                    work = work_everything(
                        parts,
                        web_parts,
                        host=host,
                        port=port,
                        intake=_intake(settings),
                        look=_Watch(parts).look,
                        started=started,
                        say=lambda line: click.echo(line, err=True),
                        key=key,
                        put_back=putting_back(settings),
                    )
                    event_loop.run(work)
        except AlreadyWorking as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
        except Outdated as error:
            click.echo(f"{error}; what was under way is written", err=True)
            raise SystemExit(NEEDS_A_PERSON) from None
        finally:
            web_parts.close()


def _lift_stopped(parts: Parts, *, yes: bool) -> None:
    """Go on with batches that were stopped with Ctrl-C if a person agrees. Without a terminal they stay stopped."""
    try:
        agreed = lift_stopped(parts, yes=yes)
    except CannotStart:
        agreed = False
    if not agreed:
        click.echo("left alone, as a person stopped them; --yes sends them too", err=True)


def _intake(settings: Settings) -> Callable[[Wake], Intake] | None:
    """What receives events from queues, if there are any."""
    if settings.bus is None and settings.broker.url.startswith("memory"):
        return None
    # Imported here: kombu takes half a second, which a process without a queue does not need.
    from worker.cli.commands.workers import Receiving
    from worker.events.bus.sources import sources_with_senders

    sources = sources_with_senders(settings)
    return partial(Receiving, settings, sources) if sources else None


def since_the_invitation(counts: BatchCounts) -> str:
    """What has happened since the first invitations: new links, and the providers' results."""
    replaced = sum(facts.issued for facts in counts.accounts.values()) - counts.sessions
    found = [counted(replaced, "new link")] if replaced > 0 else []
    return ", ".join(found + [f"{number:,} {result}" for result, number in sorted(counts.results.items())])


class _Watch:
    """Reports the progress of batches that have not ended."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next = self._recount_at = 0.0
        self._over: set[int] = set()
        self._shown: dict[int, str] = {}

    def look(self) -> str:
        """A line for each batch with progress since the last look; "" without progress, or if it is not time yet."""
        began = monotonic()
        if began < self._next:
            return ""
        if began >= self._recount_at:
            self._over.clear()
            self._recount_at = began + LOOK_AGAIN_SECONDS
        lines = [line for batch in reversed(self._parts.batches.all()) if (line := self._line(batch))]
        self._next = began + max(LOOK_SECONDS, (monotonic() - began) / LOOK_SHARE)
        return "\n".join(lines)

    def _line(self, batch: BatchFacts) -> str:
        if batch.id in self._over or batch.purged_at is not None:
            return ""
        counts = self._parts.facts.counts(batch.id)
        state = state_of(batch, counts)
        if state in OVER:
            self._over.add(batch.id)
        on_click = buys_on_click(self._parts.settings)
        progress = line_of(counts, since_the_invitation(counts), on_click=on_click)
        line = f"batch {batch.id}, {batch.name}: {state.value}, {progress}"
        if (
            not counts.jobs or self._shown.get(batch.id, line if state in OVER else "") == line
        ):  # a batch that had ended before this look is not reported
            return ""
        self._shown[batch.id] = line
        return line
