"""The audit log: who did what. Entries are added in the transaction of the change, and chained later."""
