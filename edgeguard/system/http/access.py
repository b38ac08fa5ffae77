"""Who may read a page: whoever has the token, or, where there is none, whoever came by an address of this machine."""

import hmac
import ipaddress
import socket
from dataclasses import dataclass

from edgeguard.system.http.message import Answer, Request

_COOKIE = "edgeguard_token"
_COOKIE_DAYS = 30


@dataclass(frozen=True)
class Access:
    """The rule of a server.

    A page of another site must not read or change this one through somebody's browser, neither directly (`Origin`,
    `Sec-Fetch-Site`) nor by a name of its own that it made point here (`Host`; DNS rebinding needs a name, so numbers
    are fine). Where a token is wanted it proves more than a name does.

    Attributes:
        host: where the server listens, as it was given.
        token: wanted from everybody: as `/?token=...`, which sets a cookie, in the query, or as a Bearer header.

    Example:
        >>> Access("127.0.0.1", None).refusal(Request("GET", "/", {}, {"host": "evil.example"})).status
        421
    """

    host: str
    token: str | None = None

    def refusal(self, request: Request) -> Answer | None:
        """What a request gets instead of what it wants; None where it may have that."""
        if _from_another_site(request):
            return Answer.line(403, "a page of another site wants this: refused")
        if self.token is None:
            if self._names_us(request.headers.get("host", "")):
                return None
            return Answer.line(
                421, "wrong host: come by this machine's address, or its name as the server was given it"
            )
        query, cookies = request.query.get("token"), _cookies(request.headers.get("cookie", ""))
        if query is not None and _same(query, self.token):
            return self._welcome() if request.path == "/" else None
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if _same(cookies.get(_COOKIE, ""), self.token) or _same(bearer, self.token):
            return None
        return Answer.line(401, "a token is wanted: /?token=...")

    def _names_us(self, host: str) -> bool:
        name = (host.rpartition("]")[0] + "]" if "]" in host else host.partition(":")[0]).lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            own = socket.gethostname().lower()
            return bool(name) and name in ("localhost", self.host.lower(), own, f"{own}.local")
        return True

    def _welcome(self) -> Answer:
        cookie = f"{_COOKIE}={self.token}; HttpOnly; Max-Age={_COOKIE_DAYS * 86400}; Path=/; SameSite=strict"
        return Answer(303, headers={"Location": "/", "Set-Cookie": cookie})


def _from_another_site(request: Request) -> bool:
    """A browser says where a request comes from; other programs say nothing, and are nobody's victim."""
    headers = request.headers
    origin = headers.get("origin")
    if origin is not None and origin not in {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}:
        return True
    follows_a_link = headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not follows_a_link


def _cookies(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())
