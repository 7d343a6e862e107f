"""The exit codes, which scripts read: 0 done, 1 something needs a person, 2 could not start, 3 rows wait. And
whether the sandbox is there: an installation for production leaves it and its mail server out."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import click

from onboarding_worker.core.foundation.notation import printable

DONE = 0
NEEDS_A_PERSON = 1
COULD_NOT_START = 2
LATER = 3
INTERRUPTED = 130


class Ended(click.ClickException):
    """The command ends with clear lines on standard error, and with its `exit_code`."""

    def show(self, file: object = None) -> None:
        # It may name a file, and a stranger may have named that.
        lines = self.format_message().split("\n")
        click.echo("\n".join(printable(line, len(line)) for line in lines), err=True)


class CannotStart(Ended):
    """The command cannot do what it was given."""

    exit_code = COULD_NOT_START


class NotDone(Ended):
    """There is nothing to do it for, or it may not be done: the reason, and what to do instead."""

    exit_code = NEEDS_A_PERSON


class Stopped(CannotStart):
    """The command began and does not finish: it cannot now, or the operator answered no."""

    exit_code = NEEDS_A_PERSON


@contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """What one of these says ends the command: raises CannotStart with its text."""
    try:
        yield
    except kinds as error:
        raise CannotStart(str(error)) from None


def check_sandbox_is_installed() -> None:
    """Raise CannotStart, with what to install, where the sandbox is not. Imports none of it."""
    for package in ("onboarding_sandbox", "aiosmtpd"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:  # without: a folder in which only compiled files were left
            how = "install onboarding-worker[sandbox], or run `make install` in a checkout"
            raise CannotStart(f"the sandbox is not installed here ({package} is missing): {how}")
