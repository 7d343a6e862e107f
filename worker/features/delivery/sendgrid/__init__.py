"""SendGrid: `[delivery.sendgrid]`."""
