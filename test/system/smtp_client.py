"""Hands mails over with Python's smtplib, an SMTP client that is not ours. Says what happened as JSON.

use: smtp_client.py PORT plain|tls|injected CA_FILE
"""

import json
import smtplib
import socket
import ssl
import sys

port, way, ca_file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
MAIL = "From: alice@example.com\r\nTo: bob@example.org\r\nSubject: over {}\r\n\r\nhello\r\n"


def context():
    made = ssl.create_default_context(cafile=ca_file)
    made.check_hostname = False
    return made


def plain_or_tls():
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo("client.example")
        offered = client.has_extn("starttls")
        if way == "tls":
            client.starttls(context=context())
            client.ehlo("client.example")
        try:
            client.sendmail("alice@example.com", ["bob@example.org"], MAIL.format(way))
            return {"offered": offered, "code": 250}
        except smtplib.SMTPSenderRefused as refused:
            return {"offered": offered, "code": refused.smtp_code}


def injected():
    """Commands sent in clear right behind STARTTLS, as an attacker in the middle would (CVE-2011-0411)."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    raw.recv(1000)
    raw.sendall(b"EHLO client.example\r\n")
    raw.recv(1000)
    raw.sendall(b"STARTTLS\r\nMAIL FROM:<mallory@evil.example>\r\nRCPT TO:<bob@example.org>\r\n")
    raw.recv(1000)
    with context().wrap_socket(raw) as secure:
        secure.sendall(b"EHLO client.example\r\n")
        answer = secure.recv(1000)
        secure.sendall(b"DATA\r\n")
        return {"ehlo": answer[:3].decode(), "data": secure.recv(1000)[:3].decode()}


print(json.dumps(injected() if way == "injected" else plain_or_tls()))
