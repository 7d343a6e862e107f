"""What must hold for each history: functions from a history to complaints. They know nothing of the engine's inside.

The rules read what the outside saw, and the states in which the customers are at the end. A rule that
trials/promises.py has too says the same there, about a database and a real sandbox.
"""

from collections.abc import Callable, Iterator

from trials.simulation.play import History
from trials.simulation.rules import calls, customers, endings, exact, numbers, words

Rule = Callable[[History], Iterator[str]]
RULES: tuple[Rule, ...] = (
    calls.one_live_session,
    calls.no_unsafe_repeat,
    calls.no_call_beside_another,
    calls.no_call_for_nothing,
    customers.nothing_is_sent_twice,
    customers.caps_are_kept,
    calls.limits_are_kept,
    calls.permits_are_kept,
    calls.calls_leave_under_their_leases,
    calls.pauses_are_kept,
    customers.quiet_hours_are_kept,
    customers.addresses_are_spared,
    calls.credits_are_counted,
    customers.a_link_goes_to_one_address,
    customers.nothing_stale_is_sent,
    customers.nothing_leaves_after_the_end,
    endings.everybody_is_accounted_for,
    endings.nobody_waits_for_long,
    endings.reminders_are_sent,
    endings.no_dead_link_lies_for_long,
    endings.the_refused_are_asked_once_more,
    endings.the_approved_are_asked_to_renew,
    calls.a_pilot_goes_first,
    calls.nothing_leaves_while_stopped,
    calls.nothing_is_bought_without_a_visit,
    customers.nothing_leaves_after_not_me,
    customers.nothing_leaves_once_it_is_known,
    customers.reminders_leave_in_time,
)
# What the product says to people, as the witness has read it.
SAID: tuple[Rule, ...] = (
    words.what_waits_for_a_time_moves_by_then,
    words.a_list_is_out_by_its_forecast,
    words.what_waits_for_a_person_waits,
    words.what_a_person_has_done_is_not_asked_for_again,
    words.what_one_page_asks_of_a_person_the_whole_does,
    words.each_link_opens_as_long_as_it_is_said_to,
    numbers.each_customer_has_what_was_counted,
    numbers.each_list_has_what_was_counted,
    numbers.who_is_said_to_be_invited_has_a_message,
    numbers.who_is_said_to_be_cancelled_was,
    numbers.a_proof_names_who_was_there,
    numbers.each_list_becomes_what_was_forecast,
    exact.each_list_brings_what_was_forecast,
    numbers.no_list_costs_more_than_was_forecast,
    numbers.a_new_address_gets_what_was_forecast,
)


def broken(history: History) -> list[str]:
    """Every complaint, with the name of its rule."""
    complaints = [f"{rule.__name__}: {complaint}" for rule in (*RULES, *SAID) for complaint in rule(history)]
    return [*history.record.wrong_rows, *complaints]
