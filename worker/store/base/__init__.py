"""What every query stands on: connections, bulk statements, leases, encrypted values, the schema's version."""
