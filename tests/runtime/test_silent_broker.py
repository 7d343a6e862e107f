"""A worker ends soon although its broker's connection stands and nothing answers."""

from types import SimpleNamespace

from amqp.exceptions import RecoverableConnectionError
from celery import Celery

from onboarding_worker.runtime.celery_consumer import Consumer


class Silent:
    """A connection, and the queues consumed over it. What is asked waits for its time-out, until the connection is
    left: then it fails at once."""

    connection_errors = (OSError, RecoverableConnectionError)
    channel_errors = ()

    def __init__(self) -> None:
        self.waits, self.is_left = 0, False

    def ask(self) -> None:
        if self.is_left:
            raise RecoverableConnectionError
        self.waits += 1
        raise TimeoutError

    cancel = close = ask

    def collect(self) -> None:
        self.is_left = True


def consumer_of(connection: Silent | None, consumed: Silent) -> Consumer:
    app = Celery(broker="amqp://", set_as_current=False)
    consumer = Consumer(None, app=app, controller=SimpleNamespace(use_eventloop=False))
    consumer.connection, consumer.task_consumer = connection, consumed
    return consumer


def test_a_broker_that_is_silent_is_waited_for_once():
    broker = Silent()
    consumer = consumer_of(broker, broker)
    consumer.stop()
    consumer.shutdown()
    assert (broker.waits, broker.is_left) == (1, True)


def test_a_broker_that_was_lost_before_is_not_waited_for():
    broker = Silent()
    broker.is_left = True
    consumer = consumer_of(None, broker)
    consumer.stop()
    consumer.shutdown()
    assert broker.waits == 0
