"""Public collections of bad input, sent in callbacks: see tests/hostile/test_corpora.py."""

import json

from tests.features.delivery.test_callbacks import BOUNCED
from tests.features.delivery.test_hostile_callbacks import mail
from tests.hostile.requests import status_of
from tests.hostile.served import say
from tests.hostile.test_corpora import pytestmark, strings
from tests.suite.some import some

__all__ = ["pytestmark", "strings"]


def test_naughty_strings_in_callbacks_are_kept(port: int, strings: list[str]):
    for number, text in some(enumerate(strings[::4])):
        report = BOUNCED | {"email": text, "message_id": text, "type": "bounced"}
        assert status_of(say(port, mail(json.dumps(report).encode(), id_=f"msg_{number}"))) == 200
