"""Twilio as a service for texts and for WhatsApp messages: its senders."""

from worker.senders.contract import TextFacts, TextService, TextSettings, TextTools
from worker.senders.sms import TEXTS, WHATSAPP, TwilioSender

WAYS = {"sms": TEXTS, "whatsapp": WHATSAPP}


def _twilio(settings: TextSettings, tools: TextTools) -> TwilioSender:
    return TwilioSender(
        tools.http,
        base_url=settings.base_url,
        account=settings.account,
        key=settings.key or "",
        token=settings.token,
        from_=settings.from_,
        timeout=settings.timeout,
        callback=tools.callback,
        repeat_unknown=tools.repeat_unknown,
        now=tools.now,
        login_from=tools.login_from,
        by=WAYS[tools.channel],
    )


TEXT_SERVICE = TextService(facts=TextFacts(host="https://api.twilio.com", channels=tuple(WAYS)), sender=_twilio)
