"""A month of thousands of customers in seconds: the real worker, in virtual time."""
