"""What the product could say to people, and is not so: the witness must find each. Played as a mend that is taken out
(`mends.py`); nothing of the engine changes, but for `a-resume-that-does-nothing`.
"""

from datetime import timedelta
from typing import Any

from onboarding_worker.cli.lists import foreseen
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.importing import judging
from onboarding_worker.reporting import batch_forecast, report_lines, row_groups
from onboarding_worker.reporting.store import ledger, outlook, spending, waiting
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.reporting.waits import Wait, cause_of, of_row

Replaced = tuple[Any, str, Any]  # as in `mends.py`


def _at_once(*given: Any, now: Any, **how: Any) -> Wait:
    found = cause_of(*given, now=now, **how)
    return found if found.action else found._replace(until=now)


def _of_a_person(first: Wait) -> Wait:
    return of_row(first)._replace(action="onboard resume 1")


def _opens_longer(*given: Any, reads: Any = ledger.sessions_of) -> Any:
    return [one._replace(expires_at=one.expires_at + timedelta(hours=1)) for one in reads(*given)]


def _one_lost(*given: Any, reads: Any = ledger.facts_of) -> Any:
    found = reads(*given)
    return found and found._replace(lost_calls={name: 1 for name in ("kyc", "kyb", "au")})


def _none_in_doubt(*given: Any, reads: Any = ledger.facts_of) -> Any:
    found = reads(*given)
    return found and found._replace(lost_calls={})


def _none_joined(self: CallsNow, keys: Any, *, now: Any, finds: Any = CallsNow.of) -> Any:
    found = finds(self, keys, now=now)
    self.joined = 0
    return found


MENDS: dict[str, tuple[Replaced, ...]] = {
    # what_waits_for_a_time_moves_by_then
    "said-time": ((report_lines, "cause_of", _at_once),),
    # a_list_is_out_by_its_forecast
    "said-forecast": ((batch_forecast, "with_rows_apart", lambda ends, _parts, *, left: ends),),
    # what_waits_for_a_person_waits
    "said-person": ((report_lines, "of_row", _of_a_person),),
    # what_a_person_has_done_is_not_asked_for_again
    "a-resume-that-does-nothing": ((Decisions, "resume", lambda *_given, now: None),),
    # what_one_page_asks_of_a_person_the_whole_does
    "said-whole": ((waiting, "unsent", lambda *_given, now: []),),
    # each_link_opens_as_long_as_it_is_said_to
    "said-link": ((ledger, "sessions_of", _opens_longer),),
    # each_customer_has_what_was_counted
    "said-credits": ((ledger, "facts_of", _one_lost),),
    "said-certain": ((ledger, "facts_of", _none_in_doubt),),
    # each_list_has_what_was_counted
    "said-spent": ((spending, "fetch", lambda *_given: []),),
    # who_is_said_to_be_invited_has_a_message
    "said-invited": ((row_groups, "REACHED_JOBS", tuple(JobState)),),
    # each_list_becomes_what_was_forecast, each_list_brings_what_was_forecast, no_list_costs_more_than_was_forecast
    "said-calls": ((outlook.CallsNow, "of", lambda _self, _keys, *, now: (set(), {})),),
    # each_list_brings_what_was_forecast
    "said-messages": ((judging, "invitation_channels", lambda channel: invitation_channels(channel)[:1]),),
    # each_list_becomes_what_was_forecast
    "said-joined": ((outlook.CallsNow, "of", _none_joined),),
    # a_new_address_gets_what_was_forecast
    "said-address": ((foreseen, "_facts_of_corrected", lambda *_given: {"sessions": {}, "messages": {}}),),
    # who_is_said_to_be_cancelled_was
    "said-cancelled": ((Reason.ERASED, "meaning", Reason.CANCELLED.meaning),),
}
FOUND_BY = {
    "said-time": (42,),
    "said-forecast": (42,),
    "said-person": (41,),
    "a-resume-that-does-nothing": (41,),
    "said-whole": (41,),
    "said-link": (22,),
    "said-credits": (20,),
    "said-certain": (3037,),
    "said-spent": (22,),
    "said-invited": (22,),
    "said-calls": (5,),
    "said-messages": (100,),
    "said-joined": (5,),
    "said-address": (104, 132),
    "said-cancelled": (28,),
}
