"""Pipelined mails keep what tests/senders/email says of every mail."""

from tests.senders.email.test_connections import *  # noqa: F403
from tests.senders.email.test_mails import *  # noqa: F403
from tests.senders.email.test_refusals import *  # noqa: F403
