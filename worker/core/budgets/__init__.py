"""The rows of budgets, the paces of batches, and how many sessions the senders have room for. Statements."""
