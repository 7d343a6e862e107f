"""Whether the sandbox is installed: an installation for production leaves it and its mail server out."""

from importlib.util import find_spec

from worker.cli.exits import CannotStart

NEEDED = ("onboarding_sandbox", "aiosmtpd")


def check_sandbox_is_installed() -> None:
    """Raise CannotStart, with what to install, where the sandbox is not. Imports none of it."""
    missing = next((name for name in NEEDED if not _is_there(name)), None)
    if missing:
        raise CannotStart(
            f"the sandbox is not installed here ({missing} is missing): install onboarding-worker[sandbox], or run"
            " `make install` in a checkout"
        )


def _is_there(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # without: a folder in which only compiled files were left
