"""Benchmarks: ratios in one run, because machines are noisy. `make bench` runs them."""
