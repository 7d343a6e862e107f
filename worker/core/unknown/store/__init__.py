"""The statements of unknown outcomes and of the leases of processes that died."""
