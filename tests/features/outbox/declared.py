"""What the tests of the store ask of this feature."""

from tests.features.outbox.witness import Witness

WITNESSES = [Witness]
