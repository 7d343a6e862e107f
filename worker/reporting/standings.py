"""What `status`, the dashboard and `check` say of features' work beside the rows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.rules.budgets import BudgetState
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings


class Standing(NamedTuple):
    """`lines` for people, the same as `facts` of `status --json`, and what needs a person. `is_importing`: a list's
    import has begun and not ended, and goes on by itself."""

    lines: Sequence[str]
    facts: Mapping[str, Any]
    attention: Sequence[Wait]
    is_importing: bool = False


NOTHING_TO_SAY = Standing([], {}, [])


class Standings(NamedTuple):
    """`read` gets the budgets' states. `warning`: what `status` says at the end; "": nothing. `foreseen`: what `check`
    says of what comes beside the list. No monitoring asks for these two, so they may cost more."""

    read: Callable[[Settings, Database, Mapping[str, BudgetState], datetime], Standing]
    warning: Callable[[Settings, Database, datetime], str] = lambda *_: ""
    foreseen: Callable[[Settings, Database, datetime], Standing] = lambda *_: NOTHING_TO_SAY


# The feature `outbox` says which events were given up, and which targets accept none; `audit`, that it seals nothing;
# `renew`, how many customers the next months bring; `uploads` and `list_sources`, what lists wait for.
STANDINGS = Hook("STANDINGS", Standings)
