"""What a person of the service desk may do for a customer, and what a customer's history says. Pure."""
