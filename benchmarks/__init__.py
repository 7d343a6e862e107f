"""Benchmarks. They compare within one run, because machines are noisy. docs/benchmarks.md explains them."""
