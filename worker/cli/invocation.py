"""The options of every command: --config and those of the log, before or after the command's name. And how a command
that has something to say is written: `saying`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.shared_options import JSON, NAMES_OF_BATCHES, Named, print_json_or
from onboarding_worker.runtime import logs
from onboarding_worker.settings.needs import EVERYTHING, Needs
from onboarding_worker.wiring.os_user import os_user

if TYPE_CHECKING:
    from onboarding_worker.core.database.audit_entries import Act
    from onboarding_worker.lists.store.batches import BatchFacts
    from onboarding_worker.settings.model import Settings
    from onboarding_worker.wiring.container import Parts


@dataclass
class Invocation:
    """The global options, given before or after the command's name."""

    config: Path | None = None
    log_level: str | None = None  # None: not given
    log_file: Path | None = None
    log_format: str = "auto"

    def settings(self, needs: Needs = EVERYTHING, *, logs_warnings: bool = False) -> Settings:
        """The configuration, with a value for each reference that the command needs. `logs_warnings`: the process logs
        `Settings.warnings` itself. Raises CannotStart with a line for each problem."""
        # Imported here: it takes half a second, which the sandbox and --help do not need.
        from onboarding_worker.cli.opening import settings_of

        return settings_of(self.config, needs, logs_warnings=logs_warnings)

    def parts(
        self, needs: Needs = EVERYTHING, *, migrate: bool = False, or_empty: bool = False
    ) -> AbstractContextManager[Parts]:
        """The worker's parts on a database that is up to date. `migrate`: upgrades a SQLite database first. `or_empty`:
        where there is no database, on an empty one.

        A command that does not need the encryption keys gets parts that decrypt nothing where they are missing.
        Raises CannotStart if the configuration, the templates or the database do not allow a start, or the keys that
        it encrypts or hashes with do not.
        """
        from onboarding_worker.cli.opening import parts_of

        return parts_of(self.settings(needs), act_of_command(), needs, migrate=migrate, or_empty=or_empty)


class Said(NamedTuple):
    """The facts of --json, or the lines for people. `ends`: raised after that."""

    facts: Mapping[str, Any]
    lines: Sequence[str]
    ends: BaseException | None = None


def saying(
    needs: Needs | None = None, *, migrate: bool = False
) -> Callable[[Callable[..., Said]], Callable[..., None]]:
    """A command with --json: it gets the parts (`Invocation.parts`), and what it returns is printed once they are
    closed. Without `needs` it gets the invocation, and opens what it needs itself."""

    def decorate(command: Callable[..., Said]) -> Callable[..., None]:
        @JSON
        @click.pass_obj
        @wraps(command)
        def run(invocation: Invocation, /, as_json: bool, **given: Any) -> None:
            opened = nullcontext(invocation) if needs is None else invocation.parts(needs, migrate=migrate)
            with opened as first:
                said = command(first, **given)
            print_json_or(said.facts, *said.lines, as_json=as_json)
            if said.ends is not None:
                raise said.ends

        return run

    return decorate


def act_of_command() -> Act:
    """Who runs which command, for the audit log: the person as the operating system knows them, and the command."""
    from onboarding_worker.core.database.audit_entries import Act  # imported here: --help needs no database

    context = click.get_current_context(silent=True)
    return Act(os_user().full, context.command_path.partition(" ")[2] if context is not None else "")


def find_batch(parts: Parts, which: str) -> BatchFacts:
    """The batch of an id, of `latest`, or of a day by its name. Raises CannotStart if there is none."""
    batch = parts.batches.find(which)
    if batch is None:
        if not parts.batches.all():
            raise CannotStart("there is no batch yet; `onboard run LIST.csv` makes one")
        kinds = ": a batch is a number, `latest`, or that of a day, such as events-2026-11-20"
        kinds = "" if which.isdecimal() else kinds
        raise CannotStart(f"there is no batch {which!r}{kinds}; `onboard status` lists them all")
    return batch


def find_kept(parts: Parts, which: str) -> BatchFacts:
    """As `find_batch`. Raises CannotStart also if its rows were purged."""
    batch = find_batch(parts, which)
    if batch.purged_at is not None:
        purged = f"batch {batch.id} was purged on {batch.purged_at:%Y-%m-%d}: its rows are gone"
        raise CannotStart(f"{purged}; `onboard status {batch.id}` has its totals")
    return batch


def _keep(name: str) -> Any:
    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value is not None:
            invocation = context.ensure_object(Invocation)
            setattr(invocation, name, value)
            if name != "config":
                start_logging(invocation)
        return value

    return keep


def global_options() -> list[click.Option]:
    """New options each time: Click's parameters belong to one command."""
    options: dict[str, tuple[click.ParamType[Any], str]] = {
        "config": (
            click.Path(dir_okay=False, path_type=Path),
            "The configuration file.  [default: $ONBOARDING_CONFIG, else ./onboarding.toml]",
        ),
        "log_level": (
            click.Choice(logs.LEVELS, case_sensitive=False),
            "The lowest level that is logged; worker, beat, bus and web log info instead of warning."
            "  [default: warning]",
        ),
        "log_file": (Named(), "Log to this file instead of standard error."),
        "log_format": (
            click.Choice(logs.FORMS, case_sensitive=False),
            "The form of log lines. auto: text at a terminal, one JSON object a line otherwise.  [default: auto]",
        ),
    }
    return [
        click.Option([f"--{name.replace('_', '-')}"], type=kind, expose_value=False, callback=_keep(name), help=text)
        for name, (kind, text) in options.items()
    ]


def with_global_options(command: click.Command) -> click.Command:
    """The command and its subcommands, with the global options that they do not have already, and with the names of
    batches in the help of those that take one."""
    if any(param.type.name == "batch" for param in command.params):  # `completions.Batch`, which is not loaded for it
        command.epilog = NAMES_OF_BATCHES
    command.params += [option for option in global_options() if option.name not in {p.name for p in command.params}]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_global_options(below)
    return command


def log_info(invocation: Invocation) -> None:
    """For processes that run until they are ended: log info, unless the operator gave a level."""
    if invocation.log_level is None:
        invocation.log_level = "info"
        start_logging(invocation)


def start_logging(invocation: Invocation) -> None:
    try:
        logs.set_up(invocation.log_level or "warning", invocation.log_file, invocation.log_format)
    except OSError as error:
        raise CannotStart(f"--log-file: {invocation.log_file}: {error.strerror or 'cannot be written'}") from None
