"""The library for a project's own code: `from onboarding_worker import request_onboarding` (docs/reference/library.md).

The code itself is the package `worker`, a name that many projects have for a folder of their own. Here it is loaded
from where this package is installed, so that no folder on `sys.path` stands in its place. Raises ImportError where
another package `worker` is loaded already: a process can have one of a name.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_OURS = Path(__file__).resolve().parents[1] / "worker/__init__.py"


def _load() -> None:
    """Make `worker` in this process our package."""
    loaded = sys.modules.get("worker")
    if loaded is not None:
        if not (loaded.__file__ and Path(loaded.__file__).resolve() == _OURS):
            where = loaded.__file__ or "a folder"
            raise ImportError(
                f"another package `worker` is loaded ({where}), and onboarding_worker needs that name: import"
                " onboarding_worker first, or call it from a process of its own"
            )
        return
    spec = spec_from_file_location("worker", _OURS, submodule_search_locations=[str(_OURS.parent)])
    if spec is None or spec.loader is None:
        raise ImportError(f"onboarding_worker is not installed whole: {_OURS} is missing")
    package = module_from_spec(spec)
    sys.modules["worker"] = package
    spec.loader.exec_module(package)


_load()

from worker.core.foundation.version import __version__  # noqa: E402 -- after it is certain whose `worker` this is
from worker.runtime.python_api import EventRefused, request_onboarding, take_event  # noqa: E402

__all__ = ["EventRefused", "__version__", "request_onboarding", "take_event"]
