"""Benchmarks. They compare within one run, because machines are noisy. docs/inside/performance.md explains them."""
