"""Celery's settings, as far as they are the same in every installation. Edit them here.

Every process of this project loads this file, or the file that the variable ONBOARDING_CELERYCONFIG names instead. An
installed package has its own copy. What follows from onboarding.toml is computed (worker/runtime/celery_settings.py):
the broker's URL and transport options, the queues, the pool, and how many threads or processes. A setting of this file
wins over a computed one, but for some, such as the broker's addresses: those stop the start.
"""

# A worker that starts before its broker waits for it, and no outage ends it. A channel that the broker closes is an
# outage too.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_channel_error_retry = True
# Concerns late acknowledgements, which no task has. Without a value each lost connection is warned of.
worker_cancel_long_running_tasks_on_connection_loss = True

task_create_missing_queues = False

# Wake-ups are JSON. Messages that are not the wake-ups of this project are dropped (worker/runtime/celery_consumer.py).
task_serializer = "json"
accept_content = ["json"]

# No results: the database's rows have them.
result_backend = None
task_ignore_result = True
task_store_errors_even_if_ignored = False

# A wake-up is acknowledged when its task begins: it holds nothing, and the sweep replaces it. A message that is held
# while results wait for the database would make RabbitMQ close the channel (`consumer_timeout`).
task_acks_late = False
worker_prefetch_multiplier = 1

# The queue of a worker's monitors. RabbitMQ 4.3 refuses one that is neither durable nor exclusive, and an exclusive one
# is locked until RabbitMQ has noticed that its connection is lost. It goes by itself, ten seconds after its worker.
control_queue_exclusive = False
control_queue_durable = True

# No message of a stranger ends it.
worker_consumer = "onboarding_worker.runtime.celery_consumer:Consumer"
# Time limits are neither set nor needed: a dispatcher claims rows for a bounded time, and each of its calls has a
# time-out. The threads pool would not keep them.

# The project owns the log: Celery's own lines carry arguments and the texts of exceptions.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

timezone = "UTC"
enable_utc = True

beat_scheduler = "onboarding_worker.runtime.celery_beat:Scheduler"
beat_max_loop_interval = 1
