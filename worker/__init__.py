"""Opens identity-verification sessions for customers and sends each one the link while it is fresh.

For a project's own code: `from worker import request_onboarding` (docs/library.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.library import EventRefused as EventRefused
    from worker.library import request_onboarding as request_onboarding
    from worker.library import take_event as take_event

__version__ = "0.1.0"
_LIBRARY = ("EventRefused", "request_onboarding", "take_event")


def __getattr__(name: str) -> Any:
    # Only whoever asks for it loads it: every command and task imports this package.
    if name in _LIBRARY:
        from worker import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
