"""How a batch is spread over time: pilots, paces, deadlines."""
