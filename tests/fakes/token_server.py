"""A bearer-token server that docker-registry accepts (Docker token authentication), with switches for tests.

Tokens are JWTs signed with a key made for the purpose; the registry is given its certificate
(`rootcertbundle`). Users get what they ask for, anonymous clients may pull `public/*`.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID


@dataclass
class TokenServer:
    """`users`: passwords by name; `asked`: the query of each request; `issued`: tokens given out."""

    users: dict[str, str]
    issuer: str = "tests"
    port: int = 0
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    issued: int = 0
    lifetime_s: int = 300
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.issuer)])
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def write_bundle(self, path: Path) -> None:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, user: str, service: str, scopes: list[str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": service,
            "exp": now + self.lifetime_s,
            "nbf": now - 10,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "access": [_granted(scope, user) for scope in scopes],
        }
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        self.issued += 1
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def answer(self, query: dict[str, list[str]], authorization: str) -> tuple[int, bytes]:
        self.asked.append(query)
        user = ""
        if authorization.startswith("Basic "):
            user, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            if self.users.get(user) != password:
                return 401, json.dumps({"details": "incorrect username or password"}).encode()
        token = self.token(user, query.get("service", [""])[0], query.get("scope", []))
        return 200, json.dumps({"token": token, "expires_in": self.lifetime_s}).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _granted(scope: str, user: str) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    allowed = [
        action for action in actions.split(",") if user or (action == "pull" and name[:7] == "public/")
    ]
    return {"type": kind, "name": name, "actions": allowed}


@contextmanager
def running_token_server(users: dict[str, str]) -> Iterator[TokenServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    served = TokenServer(users)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            status, body = served.answer(query, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests say what they want to know themselves."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="token server")
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
