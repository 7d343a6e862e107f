"""Commands for those who check the books: auditors, and who pays the providers' bills."""
