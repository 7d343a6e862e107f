"""Send a row's message to an address of one's own, as a test."""

from worker.core.customers.customers import Customer
from worker.core.database.encrypted_values import Erased
from worker.core.foundation.keyring import CannotDecrypt
from worker.core.messages.contact import Wording
from worker.features.dashboard.contract import Action, Asked, Done, Field, NotThere, Plan, Refused, Sources
from worker.features.dashboard.pages.batch_actions import batch_of, page_of
from worker.features.dashboard.store.batch_rows import customer_of_row
from worker.settings.problems import SettingsError
from worker.wiring.message_tests import NotSent, hand_over, written
from worker.wiring.store.message_tests import ACTION, begin

MOST = 20  # in an hour, by all persons: it goes to any address, in the company's name
TO = Field("to", "Your own email address, or phone number with +")


def _row(sources: Sources, asked: Asked) -> tuple[int, int, Customer]:
    """The batch, the row and its customer. Raises NotThere, Refused."""
    batch, row = batch_of(sources, asked), asked.number("row", least=1, most=2**31 - 1)
    if row is None:
        raise NotThere("There is no such row.")
    try:
        customer = customer_of_row(sources.parts.database, sources.parts.keyring, batch.id, row)
    except Erased:
        raise Refused("The customer was erased: nothing is left to write to.") from None
    except CannotDecrypt:
        raise Refused("No key decrypts this customer's details.") from None
    if customer is None:
        raise Refused(f"Row {row} of batch {batch.id} was rejected, or is not there: it has no message.")
    return batch.id, row, customer


def _plan(sources: Sources, asked: Asked) -> Plan:
    batch_id, row, customer = _row(sources, asked)
    if not sources.parts.settings.sending:
        raise Refused("No sender is configured: add [email] to the configuration.")
    brand = f" of the brand {customer.brand}" if customer.brand else ""
    return Plan(
        title=f"Send the message of row {row} of batch {batch_id} as a test?",
        button="Send the test",
        does=(
            f"The row's invitation{brand}, in its language, goes at once to the address that you type. It names the"
            " customer, so use an address of your own.",
            "It is marked as a test, and its link leads nowhere. Nothing of the row changes.",
        ),
        cost=("1 message; no session.",),
        fields=(TO,),
    )


def _send(sources: Sources, asked: Asked, reason: str) -> Done:
    batch_id, row, customer = _row(sources, asked)
    # imported here: Jinja, for words alone
    from worker.wiring.templates import templates_of

    stores = sources.acting(asked.person, ACTION, reason)
    try:
        templates = templates_of(sources.parts.settings)  # anew: they may have changed
        to = asked.text("to", most=TO.most)
        test = written(
            sources.parts.settings, templates, customer, to, kind=Wording.INVITATION.value, now=sources.parts.clock()
        )
        refused = begin(
            stores.database,
            stores.keyring,
            f"batch {batch_id} row {row}",
            (test.channel, test.message.to),
            reason=f"by {test.channel}",
            now=asked.now,
            most=MOST,
        )
        if refused:
            raise NotSent(refused)
        hand_over(sources.parts.settings, sources.parts.clock, stores.keyring, test)
    except (NotSent, SettingsError) as error:
        raise Refused(f"No test was sent: {error}.") from None
    return Done(f"The test of row {row} was handed over by {test.channel}.")


def _back(asked: Asked) -> str:
    return page_of(asked.number("batch", least=1) or 0)


ACTIONS = (Action(name="test-message", command=ACTION, plan=_plan, carry_out=_send, back=_back),)
