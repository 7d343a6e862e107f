"""`onboard worker` and `onboard beat`: Celery's own commands, with this configuration."""

import os
import sys
from pathlib import Path

import click

from worker.cli.exits import DONE, CannotStart
from worker.cli.invocation import Invocation
from worker.runtime.celery_settings import QUEUES, why_not_with_workers
from worker.settings import Settings


@click.command()
@click.option(
    "--queues",
    help="Only these, with commas between, for accounts or channels with workers of their own. Together they must"
    f" hear all of them.  [default: {','.join(QUEUES)}]",
)
@click.option(
    "--pool",
    type=click.Choice(["threads", "prefork"]),
    default="threads",
    show_default=True,
    help="threads: all accounts side by side on one loop. prefork: a process for each dispatcher at a time.",
)
@click.option("--concurrency", type=click.IntRange(1), help="Threads or processes.  [default: fits the accounts]")
@click.pass_obj
def worker(invocation: Invocation, queues: str | None, pool: str, concurrency: int | None) -> None:
    """Work what is due until ended; start as many as there are cores, on as many machines as it takes.

    One process; the same as `celery -A worker.app worker` with ONBOARDING_CONFIG. Needs `onboard beat` beside
    it, once. Waits for a broker or database that is away, and for `onboard db upgrade`.

    A queue that no worker hears stands still: `issue` asks for sessions, `invite` sends messages, `tell` tells others
    what happens, `sweep` is the timer's, `requests` has events that other projects send as tasks.

    SIGTERM ends it warmly: calls in flight are finished, the rest is given back. SIGQUIT does the same with threads,
    which cannot be ended by force; with prefork it waits for the longest time-out, and then kills.
    """
    settings = _with_broker(invocation)
    unknown = set(queues.split(",")) - set(QUEUES) if queues else set()
    if unknown:
        known = ", ".join(QUEUES)
        raise click.UsageError(f"--queues: there is no queue {', '.join(sorted(unknown))}; they are {known}")
    # Celery's own default is one name for a machine, and RabbitMQ refuses the second worker of that name.
    node = f"onboarding-{os.getpid()}@%h"
    arguments = ["worker", "--hostname", node, "--pool", pool, "--loglevel", _level(invocation)]
    # Workers know each other through the database: asking around would only cost a second at each start.
    arguments += ["--without-mingle", "--without-gossip"]
    if queues:
        arguments += ["--queues", queues]
    if concurrency or pool == "prefork":
        arguments += ["--concurrency", str(concurrency or os.cpu_count() or 1)]
    _celery(settings, invocation, arguments)


@click.command()
@click.pass_obj
def beat(invocation: Invocation) -> None:
    """Ring for what is due, once a second, until ended; two of them by mistake do no harm.

    The same as `celery -A worker.app beat` with ONBOARDING_CONFIG.
    """
    _celery(_with_broker(invocation), invocation, ["beat", "--loglevel", _level(invocation)])


def _with_broker(invocation: Invocation) -> Settings:
    settings = invocation.settings()
    if reason := why_not_with_workers(settings):
        raise CannotStart(reason)
    return settings


def _level(invocation: Invocation) -> str:
    return invocation.log_level if invocation.log_level != "warning" else "info"


def _celery(settings: Settings, invocation: Invocation, arguments: list[str]) -> None:
    """Become Celery's command, in this process, so that signals reach it directly.

    Not by `celery -A`: that looks in the current directory first, where a project's own `worker` may lie.
    """
    # This process becomes what `celery -A worker.app` is, and the app's module reads the environment alone. A child of
    # the prefork pool that is spawned instead of forked (macOS) imports that module again and inherits nothing else.
    os.environ["ONBOARDING_CONFIG"] = str(Path(settings.path).resolve())
    os.environ["ONBOARDING_LOG_LEVEL"] = _level(invocation)
    if invocation.log_file:
        os.environ["ONBOARDING_LOG_FILE"] = str(invocation.log_file.resolve())
    from celery.bin.celery import celery  # imported here: half a second that no other command needs

    from worker.runtime.celery_app import app

    # Not `app.start`: that drops the worker's exit code, and what restarts services would take a failure for an end.
    celery.params[0].default = app
    code = celery.main(args=["--quiet", *arguments], prog_name="celery", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else DONE)
