"""Every database query. Each module owns the changes to one kind of row. Transactions begin and end in this package."""
