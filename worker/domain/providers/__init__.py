"""What the rules know of providers: what each says of its accounts, and how long its links live."""
