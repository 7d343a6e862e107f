"""Trials: the whole system under load and faults, checked from outside. They take longer than tests."""
