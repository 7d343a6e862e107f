"""Opens identity-verification sessions for customers and sends each one the link while it is fresh.

For a project's own code: `from onboarding_worker import request_onboarding` (docs/reference/library.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.runtime.python_api import EventRefused as EventRefused
    from worker.runtime.python_api import request_onboarding as request_onboarding
    from worker.runtime.python_api import take_event as take_event

from worker.core.foundation.version import __version__ as __version__

_LIBRARY = ("EventRefused", "request_onboarding", "take_event")


def __getattr__(name: str) -> Any:
    # Loaded only when it is asked for: every command and task imports this package.
    if name in _LIBRARY:
        from worker.runtime import python_api as library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
