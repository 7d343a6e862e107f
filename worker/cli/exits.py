"""The exit codes, which scripts read: 0 done, 1 something needs a person, 2 could not start, 3 rows wait."""

import click

from worker.core.model.audit import printable

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


class Stopped(CannotStart):
    """The command began and cannot finish now."""

    exit_code = NEEDS_A_PERSON
