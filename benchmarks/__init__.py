"""Benchmarks. They compare within one run, because machines are noisy. docs/inside/benchmarks.md explains them."""
