"""What must hold after each step: functions from the rows of that moment to complaints."""

from collections.abc import Callable, Iterator

from trials.lists.rules import messages, rows, sessions
from trials.lists.rules.seen import Seen, seen
from trials.lists.world import World

RULES: tuple[Callable[[Seen], Iterator[str]], ...] = (
    rows.counts_are_true,
    rows.one_row_leads,
    rows.followers_wait_for_a_row_that_goes_on,
    rows.ids_name_their_list,
    rows.no_row_is_set_aside,
    rows.each_waits_for_a_time_or_a_worker,
    rows.cancelled_lists_have_no_open_rows,
    rows.a_pause_reaches_each_row,
    rows.calls_are_under_way_under_a_lease,
    sessions.one_session_could_be_used,
    sessions.each_belongs_to_a_row_of_its_customer,
    sessions.who_is_invited_has_a_session,
    sessions.each_is_looked_at_when_it_ends,
    messages.each_belongs_to_its_row,
    messages.each_waits_for_a_time_or_a_worker,
    messages.a_pause_reaches_each_message,
    messages.who_has_a_session_gets_a_message,
    messages.hand_overs_are_under_way_under_a_lease,
)


def broken(world: World) -> list[str]:
    """Every complaint, with the name of its rule."""
    moment = seen(world)
    complaints = [f"{rule.__name__}: {complaint}" for rule in RULES for complaint in rule(moment)]
    return [*(f"only_what_may_leave_leaves: {complaint}" for complaint in world.complaints), *complaints]
