"""Reads a mail as a program of somebody else: Python's parser, and dkimpy for the signature.

stdin: the mail as it was delivered. Argument: a JSON object, name of a TXT record to its text.
stdout: one JSON object: header (list of name and value), parts (type, charset, disposition, filename, text),
defects (of the parser, in all parts) and dkim (true, false, or null where there is no signature).
"""

import email
import email.policy
import json
import sys

import dkim

RECORDS = json.loads(sys.argv[1])
raw = sys.stdin.buffer.read()
mail = email.message_from_bytes(raw, policy=email.policy.default)


def record(name, timeout=5):
    text = RECORDS.get(name.decode().rstrip("."))
    return None if text is None else text.encode()


parts = [part for part in mail.walk() if not part.is_multipart()]
print(
    json.dumps(
        {
            "header": [[name, str(value)] for name, value in mail.items()],
            "type": mail.get_content_type(),
            "parts": [
                {
                    "type": part.get_content_type(),
                    "charset": part.get_content_charset(),
                    "disposition": part.get_content_disposition(),
                    "filename": part.get_filename(),
                    "text": part.get_content() if part.get_content_maintype() == "text" else None,
                }
                for part in parts
            ],
            "defects": [str(defect) for part in mail.walk() for defect in part.defects],
            "dkim": dkim.verify(raw, dnsfunc=record) if mail["DKIM-Signature"] else None,
        }
    )
)
