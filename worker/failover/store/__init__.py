"""The statements of failover."""
