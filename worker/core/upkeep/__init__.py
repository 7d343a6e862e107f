"""What each sweep sets right: leases and sessions that have ended, rows of an account that cannot work. Statements."""
