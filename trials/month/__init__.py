"""A month of thousands of customers in seconds: the real worker, with time that passes only while everybody waits."""
