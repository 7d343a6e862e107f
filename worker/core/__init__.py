"""What every installation has, and what imports nothing else of the worker."""
