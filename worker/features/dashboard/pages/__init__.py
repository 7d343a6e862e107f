"""The pages and the actions, one module for each subject."""

from worker.features.dashboard.contract import Part
from worker.features.dashboard.pages import (
    accounts,
    audit,
    batch,
    batch_actions,
    customer,
    now,
    on_call,
    outgoing,
)

PART = Part(
    package="worker.features.dashboard",
    pages=(  # in the order of the navigation
        now.PAGE,
        on_call.PAGE,
        batch.ALL,
        batch.PAGE,
        customer.FIND,
        customer.PAGE,
        customer.CONTACT,
        customer.MESSAGES,
        accounts.PAGE,
        outgoing.PAGE,
        audit.PAGE,
        audit.CHECK,
    ),
    actions=(
        *batch_actions.ACTIONS,
        *customer.ACTIONS,
        *now.ACTIONS,
        *accounts.ACTIONS,
        *outgoing.ACTIONS,
    ),
    downloads=batch.DOWNLOADS,
)
