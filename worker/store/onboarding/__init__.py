"""Customers, batches, jobs and sessions: how they come to be and change one another."""
