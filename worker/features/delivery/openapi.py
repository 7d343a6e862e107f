"""What the OpenAPI document says of callbacks about messages."""

PATHS = """\
  /callbacks/{sender}:
    post:
      summary: A sender's report about messages, and replies of recipients; docs/features/delivery.md.
      description: >-
        `sms` and `whatsapp` take the form of the service for texts, here Twilio's. `email` takes one form: that of
        the table of `[delivery]`. Mailgun and Amazon SNS sign in the body, so they need no header. What is genuine, but
        of another form, is answered 200 and has no effect.
      security:
        - twilio: []
        - id: []
          timestamp: []
          signature: []
        - sendgrid: []
          sendgrid_time: []
        - postmark_password: []
        - postmark_token: []
        - {}
      parameters: [{name: sender, in: path, required: true, schema: {enum: [sms, whatsapp, email]}}]
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded: {schema: {type: object, description: A callback of Twilio.}}
          application/json: {schema: {$ref: "#/components/schemas/MailCallback"}}
          text/plain:
            {schema: {type: string, description: "A message of Amazon SNS, which is JSON, for `[delivery.ses]`."}}
      responses:
        "200":
          description: "`email`: stored, or known already."
          content: {application/json: {schema: {$ref: "#/components/schemas/Receipt"}}}
        "204": {description: "`sms`, `whatsapp`: the same, without a body: Twilio would send it to the person."}
        "400": {$ref: "#/components/responses/Problem"}
        "401": {$ref: "#/components/responses/Problem"}
        "404": {$ref: "#/components/responses/Problem"}
        "408": {$ref: "#/components/responses/Problem"}
        "413": {$ref: "#/components/responses/Problem"}
        "415": {$ref: "#/components/responses/Problem"}
        "503": {$ref: "#/components/responses/Problem"}
"""
SCHEMES = """\
    twilio:
      {type: apiKey, in: header, name: X-Twilio-Signature, description: By the Twilio account's token or callback_key.}
    sendgrid:
      type: apiKey
      in: header
      name: X-Twilio-Email-Event-Webhook-Signature
      description: SendGrid's signature over the time and the body.
    sendgrid_time: {type: apiKey, in: header, name: X-Twilio-Email-Event-Webhook-Timestamp}
    postmark_password:
      {type: http, scheme: basic, description: "A key of `[delivery.postmark]` as the password, with any user."}
    postmark_token: {type: http, scheme: bearer, description: "A key of `[delivery.postmark]`."}
"""
SCHEMAS = """\
    MailCallback:
      anyOf:
        - {$ref: "#/components/schemas/MailReport"}
        - {$ref: "#/components/schemas/SendgridEvents"}
        - {$ref: "#/components/schemas/MailgunEvent"}
        - {$ref: "#/components/schemas/PostmarkEvent"}
    MailReport:
      type: object
      description: Of a mail system of your own, signed as Standard Webhooks say. It names the message or the address.
      properties:
        type: {enum: [delivered, bounced, complained]}
        message_id: {type: string, description: The Message-ID of our mail.}
        email: {type: string}
        permanent: {type: boolean, default: true}
        at: {type: string, format: date-time}
      required: [type]
      anyOf: [{required: [message_id]}, {required: [email]}]
    SendgridEvents:
      type: array
      description: "`[delivery.sendgrid]`: the event webhook, signed."
      maxItems: 2000
      items:
        type: object
        properties:
          event: {type: string}
          sg_event_id: {type: string}
          smtp-id: {type: string, description: The Message-ID of our mail.}
          timestamp: {type: integer}
    MailgunEvent:
      type: object
      description: "`[delivery.mailgun]`."
      properties:
        signature:
          type: object
          properties: {timestamp: {type: string}, token: {type: string}, signature: {type: string}}
          required: [timestamp, token, signature]
        event-data: {type: object}
      required: [signature, event-data]
    PostmarkEvent:
      type: object
      description: "`[delivery.postmark]`."
      properties: {RecordType: {type: string}, Metadata: {type: object}}
      required: [RecordType]
"""
