"""Trials: the whole thing under load and faults, looked at from outside. Longer than tests; `make trial` runs them."""
