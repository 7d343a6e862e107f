"""The same job with other task queues, each as its own documentation writes it.

They run in environments of their own (`.venv-*` here, made by `make bench`), so that none of their packages is
installed beside the worker.
"""
