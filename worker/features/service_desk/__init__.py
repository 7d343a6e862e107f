"""Finds a customer and helps: docs/features/service_desk.md."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="service_desk",
    about="Finds a customer and helps: resend, new link, address. Without it a list has to do that.",
    needs=("privacy",),
    offers={"RETURNED_REPORTS": ("worker.features.service_desk.returned_lists:RETURNED_REPORTS",)},
    commands={
        "customer": Command(
            "worker.features.service_desk.command:customer",
            "Customers",
            "Find a customer, and help: resend, new link, address.",
        ),
    },
)
