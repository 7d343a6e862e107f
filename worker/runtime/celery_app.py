"""The Celery application: `celery -A onboarding_worker worker` and `… beat`, with ONBOARDING_CONFIG.

Its settings come from celeryconfig.py and from onboarding.toml, through `celery_settings`. It does not read a host
project's celeryconfig.py.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging

from onboarding_worker.events.brokers.connection import broker_fault, never_unpack, refuses_log_in
from onboarding_worker.runtime.celery_settings import configure, name_of, why_not_with_workers
from onboarding_worker.runtime.logs import set_up
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.needs import BEATING, EVERYTHING, Needs
from onboarding_worker.settings.problems import SettingsError

WITH_THE_BROKER_ALONE = frozenset({"beat", "events", "flower", "inspect", "status"})


def pool_typed(arguments: Sequence[str]) -> str | None:
    """The pool that a command line names. Celery mistakes a typed `prefork` for its own default, and would use ours."""
    for index, argument in enumerate(arguments):
        if argument in ("-P", "--pool"):
            return arguments[index + 1] if index + 1 < len(arguments) else None
        if argument.startswith(("--pool=", "-P")):
            return argument.removeprefix("--pool=").removeprefix("-P")
    return None


def needs_typed(arguments: Sequence[str]) -> Needs:
    """What the command needs of the configuration's references: beat and what monitors know the broker alone."""
    words = arguments[1:]
    return BEATING if set(words) & WITH_THE_BROKER_ALONE and "worker" not in words else EVERYTHING


def _settings() -> Settings:
    try:
        return load(needs=needs_typed(sys.argv))
    except SettingsError as error:
        _end(str(error))


def _end(reason: str, code: int = 2) -> NoReturn:
    """End with the reason alone: Celery would show a traceback."""
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(code) from None


log = logging.getLogger(__name__)
# The exit code where the broker refuses the log-in. Not 2: service managers do not start a wrong configuration again,
# but a password may be mended at the broker.
NEEDS_A_PERSON = 1
never_unpack()


class App(Celery):  # type: ignore[misc]
    def gen_task_name(self, name: str, module: str) -> str:
        """A task has the name of its queue."""
        return name_of(self, name)


app = App(
    "onboarding",
    # Beat too loads all of them, before it hears signals: one that came into a half-loaded module would be a traceback.
    include=["onboarding_worker.runtime.celery_tasks", "onboarding_worker.runtime.celery_beat"],
    events="onboarding_worker.runtime.monitoring:Events",
    set_as_current=False,
)
app.steps["consumer"].add("onboarding_worker.runtime.monitoring:Monitoring")
try:
    configure(app, _settings, pool=pool_typed(sys.argv) or "threads")
except SettingsError as error:
    _end(str(error))


@celeryd_init.connect  # type: ignore[untyped-decorator]
@beat_init.connect  # type: ignore[untyped-decorator]
def _refuse_what_cannot_work(**_signal: Any) -> None:
    # On SQLite a worker would not respect the file lock of `onboard run`.
    settings = _settings()
    if reason := why_not_with_workers(settings):
        _end(reason)
    for warning in settings.warnings:
        log.warning("%s", warning)
    if needs_typed(sys.argv) != BEATING:
        # Without this a worker would log the problem and stay idle, and a service manager would call it started.
        from onboarding_worker.wiring.opening import check_configuration

        try:
            check_configuration(settings)
        except SettingsError as error:
            _end(str(error))
    # Celery would end with a traceback, or try for ever. One that cannot be reached is waited for.
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except Exception as error:  # each transport has its own
        if refuses_log_in(error):
            _end(f"{broker_fault(error)}: check broker.url", NEEDS_A_PERSON)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _own_the_log(loglevel: int | str | None = None, **_signal: Any) -> None:
    file = os.environ.get("ONBOARDING_LOG_FILE")
    form = os.environ.get("ONBOARDING_LOG_FORMAT", "auto")
    set_up(os.environ.get("ONBOARDING_LOG_LEVEL", "info"), Path(file) if file else None, form)
