"""Opens identity-verification sessions for customers and sends each one the link while it is fresh.

The code lies in `worker/`, and its name is `onboarding_worker` everywhere: in a checkout by the link of that name, in a
wheel by its folder. For a project's own code: `from onboarding_worker import request_onboarding`
(docs/reference/library.md).
"""

if __name__ != "onboarding_worker":
    # Under a second name, a process would hold two copies of each module.
    raise ImportError("this package is `onboarding_worker`: import it, and run `celery -A onboarding_worker`")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onboarding_worker.runtime.python_api import EventRefused as EventRefused
    from onboarding_worker.runtime.python_api import request_onboarding as request_onboarding
    from onboarding_worker.runtime.python_api import take_event as take_event

from onboarding_worker.core.foundation.version import __version__ as __version__

_LIBRARY = ("EventRefused", "request_onboarding", "take_event")


def __getattr__(name: str) -> Any:
    # Loaded only when it is asked for: every command and task imports this package.
    if name in _LIBRARY:
        from onboarding_worker.runtime import python_api as library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
