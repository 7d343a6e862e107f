"""Who may send which events."""

from onboarding_worker.core.model.incoming import NOBODY, OPERATOR, Event, EventKind, EventReceipt, Outcome


def test_this_installation_itself_may_send_everything_and_an_event_without_a_sender_nothing():
    assert (OPERATOR.kinds, OPERATOR.links, OPERATOR.every_customer, OPERATOR.ids) == ({*EventKind}, True, True, ())
    assert (NOBODY.kinds, NOBODY.links, NOBODY.every_customer) == (frozenset(), False, False)
    assert Event("crm", "1", EventKind.ERASED, {}).sender is NOBODY


def test_an_event_that_came_again_was_taken_unless_something_else_is_said():
    assert EventReceipt(Outcome.DUPLICATE).first is Outcome.TAKEN
