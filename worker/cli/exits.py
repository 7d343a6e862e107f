"""How commands end. Scripts read these (DESIGN 3.4): 0 done, 1 a person is needed, 2 could not start, 3 later."""

import click

DONE = 0
NEEDS_A_PERSON = 1
COULD_NOT_START = 2
LATER = 3
INTERRUPTED = 130


class CannotStart(click.ClickException):
    """What was asked for cannot be done: clear lines on standard error, and exit code 2."""

    exit_code = COULD_NOT_START

    def show(self, file: object = None) -> None:
        click.echo(self.format_message(), err=True)


class Stopped(CannotStart):
    """What was begun cannot be ended now: clear lines on standard error, and exit code 1."""

    exit_code = NEEDS_A_PERSON
