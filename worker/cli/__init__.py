"""The start and the end of `onboard`. Its commands are in `commands`."""

import logging
import os
import signal
import sys
import threading
from errno import EDQUOT, EFBIG, ENOSPC, EROFS

try:
    import click

    from onboarding_worker.cli.exits import COULD_NOT_START, DONE, INTERRUPTED, NEEDS_A_PERSON
    from onboarding_worker.cli.invocation import Invocation, start_logging
    from onboarding_worker.cli.registry import main_group
except KeyboardInterrupt:  # Ctrl-C while the modules load; as below
    if "_ONBOARD_COMPLETE" not in os.environ:
        sys.stderr.write("interrupted; safe to run again\n")
    sys.exit(130)

COMPLETING = "_ONBOARD_COMPLETE"  # the shell's call for completions, by Click
# A file or standard output cannot be written any more: not a bug, and no retry helps.
FULL = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})


def main() -> None:
    """The console script. Ends with the codes of `exits`, and never with a traceback."""
    invocation = Invocation()
    start_logging(invocation)
    _end_with_terminal()
    try:
        # Not standalone: Click would exit with 1 on Ctrl-C, and 1 means that a person is needed.
        code = main_group(obj=invocation, prog_name="onboard", standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that has gone is an exit code; at the very end it is a message
        sys.exit(code if isinstance(code, int) else DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if COMPLETING not in os.environ:  # else the line would stand in the prompt, where the operator is typing
            click.echo("interrupted; safe to run again", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone. Python flushes once more as it ends, and must not fail at that too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(COULD_NOT_START)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            click.echo(f"the output is incomplete: {error.strerror}", err=True)
            sys.exit(NEEDS_A_PERSON)
        if isinstance(error, OSError) and _has_no_folder():
            do = "change to one that it may read, such as `cd /`, and name files by their whole path"
            click.echo(f"onboard: the current folder is gone, or this user may not read it: {do}", err=True)
            sys.exit(COULD_NOT_START)
        logging.getLogger(__name__).exception("a bug")
        click.echo(
            f"onboard: a bug: {type(error).__name__}; --log-level debug --log-file FILE writes the details", err=True
        )
        sys.exit(NEEDS_A_PERSON)


def _has_no_folder() -> bool:
    """Whether the current folder was removed, or this user may not use the files in it."""
    try:
        os.getcwd()
    except OSError:
        return True
    return not os.access(os.curdir, os.R_OK | os.X_OK)


def _end_with_terminal() -> None:
    """Let the end of the terminal end a command as SIGTERM does: its calls in flight are finished and written down.
    `nohup` stays what it is, and so do the workers, which Celery starts over."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    shown = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def end(*_signal: object) -> None:
        for number in shown:  # each line would fail there
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGHUP, end)
