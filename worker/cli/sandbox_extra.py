"""Whether the sandbox is installed: an installation for production leaves it and its mail server out."""

from importlib.util import find_spec

from worker.cli.exits import CannotStart

NEEDED = ("worker.sandbox", "aiosmtpd")


def check_sandbox_is_installed() -> None:
    """Raise CannotStart, with what to install, where the sandbox is not. Imports none of it."""
    missing = next((name for name in NEEDED if find_spec(name) is None), None)
    if missing:
        raise CannotStart(
            f"the sandbox is not installed here ({missing} is missing): install onboarding-worker[sandbox], or run"
            " `make install` in a checkout"
        )
