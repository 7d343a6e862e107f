"""Why a connection failed is said in plain words, whatever the library has wrapped it in."""

import errno
import socket

import pytest
import redis
from kombu.exceptions import OperationalError

from worker.foundation.tls import in_words

NETWORK = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "127.0.0.1:5672"), "connection refused"),
    (socket.gaierror(-2, "secret-host is unknown"), "host name not found"),
    (TimeoutError("secret-host"), "no answer in time"),
    (ConnectionResetError(errno.ECONNRESET, "secret-host"), "connection lost"),
    (OSError("Server unexpectedly closed connection"), "connection lost"),
    (OSError(errno.EHOSTUNREACH, "secret-host"), "No route to host"),
]


@pytest.mark.parametrize(("cause", "words"), NETWORK)
def test_a_failure_of_the_network_is_in_words_bare_and_wrapped(cause: OSError, words: str):
    assert in_words(cause) == words
    for wrapper in (OperationalError("at secret-host"), redis.ConnectionError("at secret-host")):
        wrapper.__cause__ = cause
        assert in_words(wrapper) == words


def test_any_other_failure_is_named_by_its_type():
    assert in_words(redis.ResponseError("NOAUTH at secret-host")) == "ResponseError"
