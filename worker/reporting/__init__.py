"""What a batch came to, as facts and as a page. Changes nothing."""
