"""Mails that come back: read from a mailbox, stored like callbacks of a mail system, and then removed from it."""
