"""A receiver of webhooks: `receiver.py PORT DIRECTORY`, until it is killed.

The receiver answers with the status in DIRECTORY/answer. For each genuine delivery that it accepts,
it adds a line with the order id to DIRECTORY/taken. It runs inside another network namespace.
"""

import sys
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from orderapi.webhooks import NotVerified, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def main() -> None:
    port, directory = int(sys.argv[1]), Path(sys.argv[2])

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(_judge(body, self.headers, directory))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    HTTPServer(("127.0.0.1", port), Receiver).serve_forever()


def _judge(body: bytes, headers: Message, directory: Path) -> int:
    status = int((directory / "answer").read_text())
    try:
        event = verify(body, headers, SECRET)
    except NotVerified:
        return 400
    if status == 204:
        with (directory / "taken").open("a") as taken:
            taken.write(f"{event['subject']}\n")
    return status


if __name__ == "__main__":
    main()
