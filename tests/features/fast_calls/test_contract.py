"""Fast calls keep what tests/http says of every call."""

from tests.http.test_answers import *  # noqa: F403
from tests.http.test_client import *  # noqa: F403
from tests.http.test_kept_connections import *  # noqa: F403
