"""`onboard users`: who may log in to the dashboard."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.core.foundation.private_files import PRIVATE, new_file
from onboarding_worker.features.dashboard.users import NAME, Dashboard, Role, parse_users
from onboarding_worker.settings.needs import NOTHING
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.secrets import is_open_to_others

SHORTEST = 12  # characters of a password


@click.group()
def users() -> None:
    """Add users of the dashboard: docs/features/dashboard.md."""


@users.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VIEWER.value,
    show_default=True,
    help="viewer: looks. service desk: also finds customers and sends to them again. operator: also decides about"
    " batches, accounts and events.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("users.toml"),
    show_default=True,
    help="The file of [dashboard] users. It is made, for its owner alone, if it is not there.",
)
@click.pass_obj
def add_user(invocation: Invocation, name: str, role: str, file: Path) -> None:
    """Add the user NAME of the dashboard to the file of users. Asks for the password. Needs no configuration.

    Without a terminal, the password is the first line of standard input. The file holds its hash (Argon2id). To change
    or remove a user, change the file: running processes read it again, and log-ins of that user end.

    \b
    onboard users add ona --role operator
    """
    from onboarding_worker.features.dashboard.passwords import hash_password
    from onboarding_worker.settings.load import load

    if not NAME.fullmatch(name):
        raise click.UsageError("NAME has at most 64 letters, digits and . _ @ + -")
    if name in _known(file):
        raise CannotStart(f'{file} has a user {name!r}: remove the table ["{name}"] first')
    if sys.stdin.isatty():
        password = click.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().removesuffix("\n")
    if len(password) < SHORTEST:
        raise CannotStart(f"the password is too short: expected {SHORTEST} characters or more")
    entry = f'["{name}"]\nrole = "{role}"\npassword = "{hash_password(password)}"\n'
    try:
        try:
            descriptor = new_file(file, mode=PRIVATE)
        except FileExistsError:
            descriptor, entry = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW), f"\n{entry}"
        with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
            stream.write(entry)
    except OSError as error:
        raise CannotStart(f"{file}: {error.strerror or error}") from None
    click.echo(f"{name} was added to {file}, as {role}")
    with suppress(SettingsError):
        if load(invocation.config, needs=NOTHING).section(Dashboard).users.is_given:
            return
    click.echo(f'name the file in onboarding.toml: [dashboard] users = {{ file = "{file}" }}', err=True)


def _known(file: Path) -> dict[str, object]:
    try:
        with file.open(encoding="utf-8") as stream:
            if is_open_to_others(os.fstat(stream.fileno())):
                raise CannotStart(f"{file} can be read or changed by other users of this machine: `chmod 600 {file}`")
            return dict(parse_users(stream.read()))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CannotStart(f"{file}: {error.strerror or error}") from None
    except ValueError as error:
        raise CannotStart(f"{file}: {error}") from None
