"""What operators ask and decide: counts, report rows, a customer's sessions, decisions."""
