"""Benchmarks: ratios in one run, because machines are noisy. `make bench`; docs/benchmarks.md explains them."""
