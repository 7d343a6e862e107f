"""`onboard up`: everything in one process, for as long as it runs."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

import click

from worker.cli.commands.run import refuse_what_cannot_work
from worker.cli.commands.web import address
from worker.cli.exits import NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation
from worker.cli.progress import line_of
from worker.domain.model.states import BatchState
from worker.domain.model.wakeups import Wake
from worker.engine.container import Parts
from worker.engine.reporting.batch_report import state_of
from worker.foundation.clock import monotonic
from worker.publishers.build import build_targets
from worker.runtime.all_in_one import AllInOne, Intake
from worker.runtime.embedded import AlreadyWorking, Outdated, sole_worker
from worker.settings import Settings
from worker.store.onboarding.batches import BatchFacts

LOOK_SECONDS = 10.0  # between two looks at how far the batches are
LOOK_SHARE = 0.1  # … which take at most this share of the time
# A batch that has ended may be opened again, by `retry` or a late result.
LOOK_AGAIN_SECONDS = 600.0
OVER = (BatchState.FINISHED, BatchState.CANCELLED)


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen.  [default: bind of [web], 127.0.0.1:8080]")
@click.pass_obj
def up(invocation: Invocation, bind: str | None) -> None:
    """Work what is due for as long as this runs: worker, timer, web, and bus if configured, in one process.

    For who has one machine and no broker. Lists come in by `onboard import LIST` in another terminal, or as events over
    HTTP; providers' webhooks, expiries, reissues and reminders are seen to all the time. `onboard status --watch` shows
    how it goes. On SQLite nobody else works beside it; on PostgreSQL it works beside other workers.

    SIGTERM or Ctrl-C ends it: nothing more is taken, what is being called is finished and written. Ends with 0 then,
    with 1 when a newer release has taken the database over, with 2 when it could not start.
    """
    with invocation.parts(migrate=True) as parts:
        settings = parts.settings
        host, port = address(settings, bind)
        refuse_what_cannot_work(parts)
        web_parts = Parts(settings)
        try:
            with sole_worker(parts):
                parts.resume()
                everything = AllInOne(
                    parts, web_parts, build_targets(settings), intake=_intake(settings), look=_Watch(parts).look
                )
                asyncio.run(_work(everything, host, port))
        except AlreadyWorking as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
        except Outdated as error:
            click.echo(f"{error}; what was under way is written", err=True)
            raise SystemExit(NEEDS_A_PERSON) from None
        finally:
            web_parts.close()


async def _work(everything: AllInOne, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, everything.interrupt)

    def started(listens_on: int) -> None:
        click.echo(f"listening on http://{f'[{host}]' if ':' in host else host}:{listens_on}", err=True)
        click.echo("working; `onboard import LIST` gives it a list, Ctrl-C ends it", err=True)

    await everything.work(host=host, port=port, started=started, say=lambda line: click.echo(line, err=True))


def _intake(settings: Settings) -> Callable[[Wake], Intake] | None:
    """What takes events from the bus, where one is configured."""
    bus = settings.bus
    if bus is None:
        return None
    # Imported here: kombu takes half a second, which nobody without a bus is to wait for.
    from worker.cli.commands.bus import consuming

    return partial(consuming, settings, bus)


class _Watch:
    """Looks now and then how far the batches are that are not over."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next = self._anew = 0.0
        self._over: set[int] = set()
        self._said: dict[int, str] = {}

    def look(self) -> str:
        """A line for each batch that has got on since; "" where none has, or it is not time."""
        began = monotonic()
        if began < self._next:
            return ""
        if began >= self._anew:
            self._over.clear()
            self._anew = began + LOOK_AGAIN_SECONDS
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
        line = f"batch {batch.id}, {batch.name}: {state.value}, {line_of(counts)}"
        if (
            not counts.jobs or self._said.get(batch.id, line if state in OVER else "") == line
        ):  # what was over before is no news
            return ""
        self._said[batch.id] = line
        return line
