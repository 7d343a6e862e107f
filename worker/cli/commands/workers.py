"""The processes that need a broker. `onboard worker` and `onboard beat`: Celery's own commands, with this
configuration. `onboard bus`: receives events from the message bus."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onboarding_worker.cli.exits import DONE, CannotStart, Stopped, refusing
from onboarding_worker.cli.invocation import Invocation, log_info
from onboarding_worker.runtime.celery_settings import why_not_with_workers
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.needs import BEATING, EVERYTHING, WAKING, Need, Needs
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.queue_names import QUEUES

if TYPE_CHECKING:  # imported where it is used: half a second that no other command needs
    from onboarding_worker.runtime.bus_consumers import Consumers

log = logging.getLogger(__name__)
# By default Celery gives all workers of a machine one name, and then its events tell none from the others.
NODE = "onboarding-{pid}@%h"


@click.command()
@click.option(
    "--queues",
    help="Consume only these queues, without their prefix, separated by commas. Together, all workers must consume all"
    f" queues.  [default: {','.join(QUEUES)}]",
)
@click.option(
    "--pool",
    type=click.Choice(["threads", "prefork"]),
    default="threads",
    show_default=True,
    help="threads: one process, with all accounts in parallel on one loop. prefork: several processes, each with one"
    " account or channel at a time.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="How many threads or processes.  [default: enough for all accounts; with prefork, one per core]",
)
@click.pass_obj
def worker(invocation: Invocation, queues: str | None, pool: str, concurrency: int | None) -> None:
    """Run a worker, until ended. Start one per core, on as many machines as you need.

    Needs PostgreSQL, a broker (RabbitMQ or Redis: url in [broker]) and one running `onboard beat`. Without a broker use
    `onboard run` or `onboard up`. The command is the same as `celery -A onboarding_worker worker` with the variable
    ONBOARDING_CONFIG. It waits for a broker or database that cannot be reached, and for `onboard db upgrade`.
    Where the broker refuses its log-in it ends with 1.

    At least one worker must consume each queue: `issue` (opens sessions), `invite` (sends messages), `tell` (publishes
    events), `sweep` (finds work that is due and ends expired leases). Other settings of Celery are in celeryconfig.py.

    SIGTERM ends a worker after its calls in flight are finished; its other rows are released. With --pool threads
    SIGQUIT and Ctrl-C do the same. With --pool prefork SIGQUIT waits for the longest time-out, and then kills the
    processes.

    \b
    onboard worker                       consumes all queues
    onboard worker --queues issue,sweep  opens sessions and sends no messages; other workers consume the rest
    """
    settings = _with_broker(invocation, EVERYTHING)
    if unknown := set(queues.split(",")) - set(QUEUES) if queues else ():
        known = ", ".join(QUEUES)
        raise click.UsageError(f"--queues: there is no queue {', '.join(sorted(unknown))}; the queues are {known}")
    arguments = ["worker", "--hostname", NODE.format(pid=os.getpid()), "--pool", pool]
    if queues:
        arguments += ["--queues", ",".join(settings.broker.prefix + queue for queue in queues.split(","))]
    if concurrency or pool == "prefork":
        arguments += ["--concurrency", str(concurrency or os.cpu_count() or 1)]
    _celery(settings, invocation, arguments)


@click.command()
@click.pass_obj
def beat(invocation: Invocation) -> None:
    """Run the scheduler, until ended: each second it makes a worker look for work that is due.

    Run one scheduler for all workers; a second one does no harm. Needs the same broker as the workers. The command is
    the same as `celery -A onboarding_worker beat` with the variable ONBOARDING_CONFIG.
    """
    _celery(_with_broker(invocation, BEATING), invocation, ["beat"])


def _with_broker(invocation: Invocation, needs: Needs) -> Settings:
    settings = invocation.settings(needs, logs_warnings=True)
    if reason := why_not_with_workers(settings):
        raise CannotStart(reason)
    return settings


def _celery(settings: Settings, invocation: Invocation, arguments: list[str]) -> None:
    """Become `celery -A onboarding_worker`, in this process, so that signals reach it directly."""
    # The app's module reads the environment alone. A child of the prefork pool that is spawned instead of forked
    # (macOS) imports that module again and inherits nothing else.
    os.environ["ONBOARDING_CONFIG"] = str(Path(settings.path).resolve())
    os.environ["ONBOARDING_LOG_LEVEL"] = level = invocation.log_level or "info"
    os.environ["ONBOARDING_LOG_FORMAT"] = invocation.log_format
    if invocation.log_file:
        os.environ["ONBOARDING_LOG_FILE"] = str(invocation.log_file.resolve())
    from celery.bin.celery import celery  # imported here: half a second that no other command needs

    words = ["--app", "onboarding_worker", "--quiet", *arguments, "--loglevel", level]
    # Not `app.start`: it drops the worker's exit code, and a service manager would take a failure for a normal end.
    code = celery.main(args=words, prog_name="celery", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else DONE)


@click.command()
@click.pass_obj
def bus(invocation: Invocation) -> None:
    """Receive events from message queues, until ended. Any number of bus processes can run.

    It consumes the queue of [bus], if there is a [bus], and the queue `requests` of the workers' broker, which other
    projects send Celery tasks to. [web.senders] says whose messages they are, and what each sender may do.

    Needs PostgreSQL, a broker and running workers. Waits for a broker or database that cannot be reached: events stay
    in the broker meanwhile. SIGTERM ends it: messages that it has received are stored and acknowledged first.
    """
    log_info(invocation)
    settings = invocation.settings(WAKING | {Need.BUS})
    if settings.database.url.startswith("sqlite"):
        raise CannotStart(
            "database.url: the bus needs postgresql+psycopg://…; SQLite is for one process, `onboard run` or `up`"
        )
    if reason := why_not_with_workers(settings):
        raise CannotStart(reason)
    from onboarding_worker.cli.opening import wake_ups_of
    from onboarding_worker.events.bus.sources import sources_with_senders
    from onboarding_worker.runtime.bus_consumers import Consumers

    sources = sources_with_senders(settings)
    if not sources:
        raise CannotStart("there is no queue to consume: give a sender in [web.senders] `queues` or `users`")
    consumers = Consumers(settings, sources, wake_ups_of(settings).send_soon)
    ended = threading.Event()

    def end(*_signal: object) -> None:
        ended.set()
        consumers.stop()

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)
    receive(consumers)
    if consumers.outdated and not ended.is_set():
        # If the process ended, it would be started again and again.
        log.error("idle: processes of the newer release receive the events: %s", consumers.outdated)
        ended.wait()


def receive(consumers: "Consumers") -> None:
    """Receive events until `stop`, or until outdated. Raises CannotStart if a queue or the keys do not fit, and Stopped
    where a broker refuses the log-in."""
    from onboarding_worker.events.bus.consumer import LogInRefused
    from onboarding_worker.events.bus.sources import Unfit

    try:
        with refusing(Unfit, SettingsError):
            consumers.run()
    except LogInRefused as error:  # not a wrong configuration: a password may be mended at the broker
        raise Stopped(str(error)) from None
