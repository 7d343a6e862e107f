"""The pages and the actions, one module for each subject."""

from onboarding_worker.features.dashboard.contract import Part
from onboarding_worker.features.dashboard.pages import audit, batch, batch_actions, customer, now, on_call, outgoing

PART = Part(
    package="onboarding_worker.features.dashboard",
    # In the order of the navigation.
    pages=(now.PAGE, on_call.PAGE, *batch.PAGES, *customer.PAGES, now.ACCOUNTS, outgoing.PAGE, *audit.PAGES),
    actions=(*batch_actions.ACTIONS, *customer.ACTIONS, *now.ACTIONS, *outgoing.ACTIONS),
    downloads=batch.DOWNLOADS,
)
