"""Reads mails that came back from a mailbox."""

from worker.core.features import Feature

FEATURE = Feature(
    name="bounces",
    about="Reads mails that came back from a mailbox. Without it only a refused hand-over tells of a wrong address.",
    needs=("delivery",),
)
