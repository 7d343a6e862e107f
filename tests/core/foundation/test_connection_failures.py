"""Why a connection failed is said in plain words, whatever the library has wrapped it in."""

import errno
import socket
import ssl
from itertools import islice

import amqp
import pytest
import redis
from kombu.exceptions import OperationalError

from onboarding_worker.core.foundation.connection_failures import causes, certificate_help, in_words, refusal
from onboarding_worker.events.brokers.connection import broker_fault

NETWORK = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "127.0.0.1:5672"), "connection refused"),
    (socket.gaierror(-2, "secret-host is unknown"), "host name not found"),
    (TimeoutError("secret-host"), "no answer in time"),
    (ConnectionResetError(errno.ECONNRESET, "secret-host"), "connection lost"),
    (OSError("Server unexpectedly closed connection"), "connection lost"),
    (OSError(errno.EHOSTUNREACH, "secret-host"), "No route to host"),
]


def test_a_failure_of_the_network_is_in_words_bare_and_wrapped(subtests: pytest.Subtests):
    for cause, words in NETWORK:
        with subtests.test(cause=cause, words=words):
            assert in_words(cause) == words
            for wrapper in (OperationalError("at secret-host"), redis.ConnectionError("at secret-host")):
                wrapper.__cause__ = cause
                assert in_words(wrapper) == words


# What Redis and RabbitMQ say, as their libraries raise it.
REFUSALS = [
    (redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "its memory is full"),
    (redis.ReadOnlyError("You can't write against a read only replica."), "it is a replica, which takes no writes"),
    (redis.AuthenticationError("invalid username-password pair of secret-name"), "it refuses the user or the password"),
    (redis.exceptions.NoPermissionError("User secret-name has no permissions"), "this user lacks a right"),
    (redis.BusyLoadingError("Redis is loading the dataset in memory"), "it still loads its data"),
    (redis.ResponseError("MISCONF Redis …"), "it cannot save its data on its disk, and takes no writes"),
    (redis.ConnectionError("max number of clients reached"), "it has as many clients as it allows"),
    (amqp.AccessRefused("Login was refused using PLAIN at secret-host"), "it refuses the user or the password"),
    (amqp.AccessRefused("write access to secret-name refused"), "this user lacks a right"),
    (amqp.NotAllowed("vhost secret-name not found"), "it has no such virtual host, or this user may not use it"),
]


def test_a_server_that_answers_and_refuses_says_why_bare_and_wrapped(subtests: pytest.Subtests):
    for cause, words in REFUSALS:
        with subtests.test(cause=cause, words=words):
            assert (in_words(cause), refusal(cause)) == (words, words)
            wrapper = OperationalError("at secret-host")
            wrapper.__cause__ = cause
            assert (in_words(wrapper), refusal(wrapper)) == (words, words)
            assert broker_fault(wrapper) == f"the broker refuses this process ({words})"
            assert broker_fault(wrapper, whom="beat") == f"the broker refuses beat ({words})"


def test_a_broker_that_cannot_be_reached_is_not_said_to_refuse():
    assert refusal(ConnectionRefusedError(errno.ECONNREFUSED, "127.0.0.1:5672")) == ""
    assert broker_fault(TimeoutError("secret-host")) == "the broker cannot be reached (no answer in time)"


def test_a_connection_that_redis_closed_is_lost():
    closed = redis.ConnectionError("Connection closed by secret-host")
    wrapped = OperationalError("at secret-host")
    wrapped.__cause__ = closed
    assert in_words(closed) == in_words(wrapped) == "connection lost"


def test_any_other_failure_is_named_by_its_type():
    odd = redis.ResponseError("an odd answer of secret-host")
    assert in_words(odd) == "ResponseError"
    wrapper = OperationalError("at secret-host")
    wrapper.__cause__ = odd
    assert in_words(wrapper) == "ResponseError"


def test_the_cause_is_looked_for_in_what_was_being_handled_and_a_circle_ends():
    wrapper = OperationalError("at secret-host")
    wrapper.__context__ = ConnectionRefusedError(errno.ECONNREFUSED, "secret-host")
    assert in_words(wrapper) == "connection refused"
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert [*islice(causes(first), 3)] == [first, second]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ssl.SSLError(1, "wrong version number of secret-host"), "TLS handshake failed"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed for secret-host"), "certificate not trusted"),
    ],
)
def test_tls_that_fails_without_a_code_is_said_to_be_tls(failure: ssl.SSLError, words: str):
    wrapper = OperationalError("at secret-host")
    wrapper.__cause__ = failure
    assert (in_words(failure), in_words(wrapper)) == (words, words)


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed for secret-host")
    error.verify_code = code
    return error


UNKNOWN_AUTHORITY = "certificate not trusted (its authority is unknown here"
CERTIFICATES = [
    (9, "certificate not trusted (not valid yet, or this machine's clock is slow)", "look at this machine's clock"),
    (10, "certificate not trusted (expired)", "let those who run the server renew"),
    (18, "certificate not trusted (self-signed, and not named as `ca`)", "name it in [bus] ca"),
    (19, f"{UNKNOWN_AUTHORITY})", "name it in [bus] ca"),
    *(
        (code, f"{UNKNOWN_AUTHORITY}, or the server leaves out a certificate between)", "name it in [bus] ca")
        for code in (20, 21)
    ),
    (62, "certificate for another host name", "write the host name that the certificate has into [bus]"),
    (64, "certificate for another host name", "write the host name that the certificate has into [bus]"),
    (23, "certificate not trusted", "name it in [bus] ca"),
]


def test_a_refused_certificate_says_why_and_who_has_to_do_something(subtests: pytest.Subtests):
    for code, words, step in CERTIFICATES:
        with subtests.test(code=code, words=words, step=step):
            assert in_words(refused(code)) == words
            wrapper = OperationalError("at secret-host")
            wrapper.__cause__ = refused(code)
            assert in_words(wrapper) == words
            assert step in certificate_help(f"127.0.0.1:5671: {words}", "bus")


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("SSL error: certificate verify failed", "name it in [database] ca"),
        ("SSL error: certificate verify failed: certificate is not yet valid", "look at this machine's clock"),
        ("SSL error: certificate verify failed: certificate has expired", "let those who run the server renew"),
        ('server certificate for "a" does not match host name "b"', "write the host name"),
    ],
)
def test_the_words_of_postgresqls_library_have_the_same_steps(words: str, step: str):
    assert step in certificate_help(words, "database")
    assert certificate_help("connection refused", "database") == ""
