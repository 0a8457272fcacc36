"""
A receiver of webhooks, in Python without any package: verifies each delivery, answers at once, and prints an event the
first time it comes.

    WEBHOOK_SECRET=whsec_... python3 examples/webhook_receiver.py
"""
import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))


def is_genuine(headers, body):
    id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    # A recorded delivery is invalid after five minutes.
    if not sent.isdigit() or abs(time.time() - int(sent)) > 300:
        return False
    expected = base64.b64encode(hmac.digest(key, f"{id}.{sent}.".encode() + body, hashlib.sha256)).decode()
    # Two signatures while a secret is being replaced.
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(one, f"v1,{expected}") for one in given)


# A real receiver uses a unique index of its database.
seen = set()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        genuine = is_genuine(self.headers, body)
        if genuine and self.headers["webhook-id"] not in seen:
            event = json.loads(body)
            print(event["seq"], event["kind"], self.headers["webhook-id"], flush=True)
            seen.add(self.headers["webhook-id"])
        # Only now: an event whose answer is 2xx does not come again.
        self.send_response(204 if genuine else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 3000))), Receiver)
print("listening", flush=True)
server.serve_forever()
