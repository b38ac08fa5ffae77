"""Answering a camera that wants a user and a password: Digest (RFC 7616, RFC 2069) and Basic (RFC 7617)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.request import parse_http_list

#: Names of algorithms, the strongest first, and of their hashes.
_HASHES = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
_BEGINS_CHALLENGE = re.compile(r"([A-Za-z][A-Za-z0-9-]*)(?:\s+(?!=)(.*))?$", re.DOTALL)
_MOST_STALE = 3  # nonces in a row that have run out at once


@dataclass(frozen=True)
class Challenge:
    """What a server wants: the scheme in lower case, and its parameters."""

    scheme: str
    values: dict[str, str]

    @property
    def algorithm(self) -> str:
        """Digest's, without `-sess`."""
        return self.values.get("algorithm", "MD5").upper().removesuffix("-SESS")

    @property
    def _qops(self) -> list[str]:
        return [word.strip() for word in self.values.get("qop", "auth").lower().split(",")]

    @property
    def can_be_answered(self) -> bool:
        """Whether it is Basic, or a Digest of an algorithm and a protection that we know."""
        if self.scheme == "basic":
            return True
        hash_name = _HASHES.get(self.algorithm, "")
        known = hash_name in hashlib.algorithms_available
        return self.scheme == "digest" and known and "auth" in self._qops and "nonce" in self.values

    def __str__(self) -> str:
        if self.scheme != "digest":
            return self.scheme.capitalize()
        qop = self.values.get("qop", "auth")
        return f"Digest {self.values.get('algorithm', 'MD5')}" + ("" if "auth" in self._qops else f" qop {qop}")


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers; several may stand in one.

    Example:
        >>> [str(c) for c in challenges(['Basic realm="a, b", Digest realm=x, nonce="1", algorithm=SHA-256'])]
        ['Basic', 'Digest SHA-256']
    """
    found: list[tuple[str, list[str]]] = []
    for header in headers:
        for item in parse_http_list(header[:4096]):
            begins = _BEGINS_CHALLENGE.match(item)
            if begins is not None and "=" not in begins[1]:
                found.append((begins[1].lower(), [begins[2]] if begins[2] else []))
            elif found:
                found[-1][1].append(item)
    return [Challenge(scheme, _values(items)) for scheme, items in found]


def _values(items: list[str]) -> dict[str, str]:
    pairs = (item.partition("=") for item in items)
    return {name.strip().lower(): _unquoted(value.strip()) for name, equals, value in pairs if equals}


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


class Login:
    """A user and a password, and how a server wants them.

    Whoever wants Digest gets the password in no other way. Names that are not ASCII are tried as UTF-8, then as
    Latin-1, since cameras say nowhere what they take.

    Example:
        >>> login = Login("me", "secret")
        >>> login.header("GET", "/") is None, login.challenged(["Basic realm=x"]), login.header("GET", "/")
        (True, True, 'Basic bWU6c2VjcmV0')
    """

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._challenge: Challenge | None = None
        self._encoding = "utf-8"
        self._tried: set[tuple[str, str, str]] = set()
        self._count = self._stale = 0

    def header(self, method: str, uri: str) -> str | None:
        """The Authorization header of the next request; None before the first challenge."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return "Basic " + base64.b64encode(self._encoded(f"{self._user}:{self._password}")).decode()
        self._count += 1
        return self._digest(self._challenge, method, uri, secrets.token_hex(8))

    def challenged(self, headers: Sequence[str]) -> bool:
        """Take a refusal; False where there is no other way to try.

        Args:
            headers: the WWW-Authenticate headers; none at all counts as Basic.
        """
        offered = [c for c in challenges(headers) if c.can_be_answered]
        if not headers:
            offered = [Challenge("basic", {})]
        if any(c.scheme == "digest" for c in offered):
            offered = [c for c in offered if c.scheme == "digest"]
        strength = list(_HASHES)
        offered.sort(key=lambda c: strength.index(c.algorithm) if c.scheme == "digest" else len(strength))
        for challenge in offered:
            if challenge.values.get("stale", "").lower() == "true" and self._stale < _MOST_STALE:
                self._stale += 1
                return self._use(challenge, self._encoding)
            for encoding in self._encodings():
                way = challenge.scheme, challenge.algorithm, encoding
                if way not in self._tried:
                    self._tried.add(way)
                    return self._use(challenge, encoding)
        return False

    def accepted(self) -> None:
        """The last answer was right; a later refusal begins anew."""
        self._tried.clear()
        self._stale = 0

    def _use(self, challenge: Challenge, encoding: str) -> bool:
        self._challenge, self._encoding, self._count = challenge, encoding, 0
        return True

    def _encodings(self) -> list[str]:
        text = self._user + self._password
        latin = not text.isascii() and all(ord(letter) < 256 for letter in text)
        return ["utf-8", "latin-1"] if latin else ["utf-8"]

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._encoding, "replace")

    def _digest(self, challenge: Challenge, method: str, uri: str, cnonce: str) -> str:
        values, count = challenge.values, f"{self._count:08x}"
        realm, nonce = values.get("realm", ""), values["nonce"]

        def hashed(text: str) -> str:
            return hashlib.new(_HASHES[challenge.algorithm], self._encoded(text), usedforsecurity=False).hexdigest()

        secret = hashed(f"{self._user}:{realm}:{self._password}")
        if values.get("algorithm", "").upper().endswith("-SESS"):
            secret = hashed(f"{secret}:{nonce}:{cnonce}")
        request = hashed(f"{method}:{uri}")
        with_qop = "qop" in values
        between = f"{nonce}:{count}:{cnonce}:auth" if with_qop else nonce
        said = {
            "username": self._user, "realm": realm, "nonce": nonce, "uri": uri,
            "response": hashed(f"{secret}:{between}:{request}"),
        }  # fmt: skip
        if with_qop or values.get("algorithm", "").upper().endswith("-SESS"):
            said["cnonce"] = cnonce
        if "opaque" in values:
            said["opaque"] = values["opaque"]
        plain = {"algorithm": values["algorithm"]} if "algorithm" in values else {}
        if with_qop:
            plain |= {"qop": "auth", "nc": count}
        quoted = [f'{name}="{_escaped(value)}"' for name, value in said.items()]
        text = "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in plain.items())])
        return text.encode(self._encoding, "replace").decode("latin-1")  # as http.client writes headers


def _escaped(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", value)
