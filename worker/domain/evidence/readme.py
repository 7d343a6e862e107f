"""The text inside the evidence that says what it is, and how to check it without this software. Pure."""

TEXT = """\
Evidence of a batch of customers
================================

What is in it
  summary.html          totals, for a browser
  summary.csv           a line for each customer, for a spreadsheet
  evidence-0001.jsonl   every record: the list, each decision, each customer with consent and result, and the calls,
                        sessions and messages. A JSON object a line; evidence-0002.jsonl goes on, and so on
  schema.json           what the fields mean (JSON Schema)
  manifest.json         the digests (SHA-256) of all these files, and the last hash of the records' chain
  manifest.sig          the signature of manifest.json (Ed25519)
  public-key.pem        the key that checks the signature

It holds customers by their ids. It holds no name, no address, no text of a message, no link and no token. Of a message
it has the digest of the template. "actor" names the person who ran a command, as the operating system knows them.

How to check it
  With onboard, on any machine, without a configuration and a database:

    onboard evidence verify FILE.zip --key the-key-that-you-keep.pem

  Use a key that you got from the company in another way, and kept: who changes the file can sign it with a key of
  their own, and put that key into it. The key is the same for all evidence of the company.

  Without onboard, with programs that are everywhere:

    unzip FILE.zip -d evidence && cd evidence
    openssl pkeyutl -verify -pubin -inkey the-key-that-you-keep.pem -rawin -in manifest.json -sigfile manifest.sig
    sha256sum *          compare with "sha256" in manifest.json; files that it does not name do not count

  And the chain of the records, in Python:

    import glob, hashlib, json
    before = "0" * 64
    for name in sorted(glob.glob("evidence-*.jsonl")):
        for line in open(name, "rb"):
            found = json.loads(line)["hash"]
            text = line[:-76] + b"}"          # without ,"hash":"..."}
            before = hashlib.sha256(before.encode() + b"\\n" + text).hexdigest()
            assert before == found, (name, line[:40])
    print(before)                             # is "head" in manifest.json

What it proves, and what not
  Nothing in this file was changed, added, removed or moved since the company signed it. A decision has the number and
  the hash of its entry in the audit log: the company's export of that log (onboard audit export) must have the same.
  It does not prove that the company recorded all that happened. The entries of making evidence are not in it: so
  evidence that is made twice of the same records is the same, byte for byte.
"""
