"""The trial of events: other systems publish them with their own clients, and the checks compare the results."""
