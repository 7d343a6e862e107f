"""Amazon SES, which reports through SNS: `[delivery.ses]`."""
