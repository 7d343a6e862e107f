"""Reports of delivery as mail systems write them (RFC 3464), with one thing changed each."""


def report(
    to: str,
    *,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 <ona@example.com>: Recipient address rejected: User unknown",
    more: str = "",
) -> bytes:
    """A report that came to the address `to`. `more`: further fields of the recipient's block."""
    fields = [f"Action: {action}"] if action else []
    fields += [f"Status: {status}"] if status else []
    fields += [f"Diagnostic-Code: {diagnostic}"] if diagnostic else []
    block = "\r\n".join([*fields, *([more] if more else [])])
    return f"""Return-Path: <>\r
Delivered-To: {to}\r
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\r
To: {to}\r
Subject: Undelivered Mail Returned to Sender\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary="A1/mx.example.net"\r
\r
--A1/mx.example.net\r
Content-Description: Notification\r
Content-Type: text/plain; charset=us-ascii\r
\r
This is the mail system at host mx.example.net. I'm sorry to have to inform you.\r
\r
--A1/mx.example.net\r
Content-Description: Delivery report\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example.net\r
Arrival-Date: Fri, 20 Nov 2026 12:00:00 +0000 (UTC)\r
\r
Final-Recipient: rfc822; ona@example.com\r
{block}\r
\r
--A1/mx.example.net\r
Content-Type: text/rfc822-headers\r
\r
Subject: Please confirm your identity\r
\r
--A1/mx.example.net--\r
""".encode()


def complaint(to: str, returned_to: str) -> bytes:
    """A complaint (RFC 5965) that came to `to`, about the mail whose return path was `returned_to`."""
    return f"""From: <abuse@isp.example>\r
To: {to}\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=feedback-report; boundary="f"\r
\r
--f\r
Content-Type: text/plain\r
\r
This is an email abuse report.\r
--f\r
Content-Type: message/feedback-report\r
\r
Feedback-Type: abuse\r
User-Agent: SomeGenerator/1.0\r
Version: 1\r
\r
--f\r
Content-Type: message/rfc822\r
\r
Return-Path: <{returned_to}>\r
From: Example Bank <verify@example.com>\r
Subject: Please confirm your identity\r
\r
Hello\r
--f--\r
""".encode()
