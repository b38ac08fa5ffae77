"""Real HTTP servers of our own making that stand in a user's way: logins, redirects, cookies, certificates."""

import hashlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import parse_http_list, parse_keqv_list

from programs import needed

Answer = tuple[int, dict[str, str], bytes]
Script = Callable[["Asked"], Answer]


class Asked(http.server.BaseHTTPRequestHandler):
    """One request; `script` answers it."""

    protocol_version = "HTTP/1.1"
    script: Script
    log: list["Asked"]

    def do_GET(self) -> None:
        type(self).log.append(self)
        status, headers, body = type(self).script(self)
        self.send_response(status)
        for name, value in headers.items():
            for one in value.split("\n"):
                self.send_header(name, one)
        if "Content-Length" not in headers:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def camera(script: Script, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[Asked]]]:
    """Serves `script`; yields HOST:PORT and the requests."""
    log: list[Asked] = []
    kind = type("Scripted", (Asked,), {"script": staticmethod(script), "log": log})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # clients that leave are no errors
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class DigestServer:
    """Checks Digest as RFC 7616 has it, with Python's own hashes; counts of nonces have to grow.

    Args:
        user, password: what is right, as bytes of the encoding that this camera takes.
        algorithm, qop: of the challenge; an empty qop is RFC 2069.
        uses: requests that one nonce is good for; afterwards it is stale.
    """

    def __init__(self, user: bytes, password: bytes, *, algorithm: str = "MD5", qop: str = "auth", uses: int = 100):
        self.user, self.password, self.algorithm, self.qop, self.uses = user, password, algorithm, qop, uses
        self.nonce, self.used = 0, 0

    def challenge(self, stale: bool = False) -> str:
        self.nonce, self.used = self.nonce + 1, 0
        text = f'Digest realm="Camera, \\"front\\"", nonce="n{self.nonce}=", opaque="o="'
        text += f", algorithm={self.algorithm}" if self.algorithm else ""
        text += f', qop="{self.qop}"' if self.qop else ""
        return text + (", stale=true" if stale else "")

    def refusal(self, asked: Asked) -> Answer | None:
        """None for a request that is let in."""
        given = asked.headers.get("Authorization", "")
        if not given.startswith("Digest "):
            return 401, {"WWW-Authenticate": self.challenge(), "Content-Length": "0"}, b""
        values = parse_keqv_list(parse_http_list(given[7:]))
        right = self._response(values, asked).encode() == values["response"].encode()
        if not right or values["nonce"] != f"n{self.nonce}=" or values["uri"] != asked.path:
            return 401, {"WWW-Authenticate": self.challenge(), "Content-Length": "0"}, b""
        self.used += 1
        if self.qop and int(values["nc"], 16) != self.used:
            return 400, {"Content-Length": "0"}, b""
        if self.used > self.uses:
            return 401, {"WWW-Authenticate": self.challenge(stale=True), "Content-Length": "0"}, b""
        return None

    def _response(self, values: dict[str, str], asked: Asked) -> str:
        name = {"SHA-256": "sha256", "SHA-512-256": "sha512_256"}.get(self.algorithm.removesuffix("-sess"), "md5")

        def h(data: bytes) -> bytes:
            return hashlib.new(name, data).hexdigest().encode()

        realm = b'Camera, "front"'
        secret = h(self.user + b":" + realm + b":" + self.password)
        if self.algorithm.endswith("-sess"):
            secret = h(secret + f":{values['nonce']}:{values['cnonce']}".encode())
        request = h(f"GET:{asked.path}".encode())
        middle = values["nonce"] if not self.qop else f"{values['nonce']}:{values['nc']}:{values['cnonce']}:auth"
        return h(secret + b":" + middle.encode() + b":" + request).decode()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and its certificate's file."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [needed("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "2", "-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
