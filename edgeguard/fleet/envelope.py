"""`bundle.sig`: a DSSE envelope (https://github.com/secure-systems-lab/dsse) around `bundle.json`, m of n Ed25519 keys.

The envelope's own JSON is all that is parsed before a signature holds; its size is bounded.
"""

import json
from collections.abc import Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key, Signer

from edgeguard.errors import InputError
from edgeguard.fleet.manifest import LARGEST_MANIFEST
from edgeguard.system.foreign import parsing

PAYLOAD_TYPE = "application/vnd.edgeguard.bundle+json"
#: Base64 takes four bytes for three; each signature takes about 200.
LARGEST_ENVELOPE = LARGEST_MANIFEST * 3 // 2
_MOST_SIGNATURES = 32


def read_envelope(data: bytes) -> Envelope:
    """An envelope, not verified.

    Raises:
        InputError: it is none, or no bundle's.
    """
    if len(data) > LARGEST_ENVELOPE:
        raise InputError(f"bundle.sig has {len(data)} bytes, more than {LARGEST_ENVELOPE}; refused")
    with parsing("bundle.sig"):
        raw: Any = json.loads(data)
        if len(raw["signatures"]) > _MOST_SIGNATURES:
            raise ValueError(f"more than {_MOST_SIGNATURES} signatures")
        envelope = Envelope.from_dict(raw)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise InputError(f"bundle.sig signs {envelope.payload_type[:80]!r} and no bundle; refused")
    return envelope


def verified_payload(envelope: Envelope, keys: Sequence[Key], threshold: int) -> bytes:
    """The signed bytes, where at least `threshold` of `keys` signed them.

    Raises:
        InputError: unsigned, signed by others, or by too few.
    """
    known = {key.keyid for key in keys}
    if not envelope.signatures:
        raise InputError("the bundle is not signed; refused")
    if not known & set(envelope.signatures):
        raise InputError(
            "the bundle is signed by a key that is not (or no longer) one of this fleet's release keys; refused"
        )
    try:
        envelope.verify(list(keys), threshold)
    except (VerificationError, ValueError) as error:
        good = sum(_holds(envelope, key) for key in keys)
        if 0 < good < threshold:
            raise InputError(
                f"the bundle has {good} of the {threshold} signatures that this fleet wants; refused"
            ) from error
        raise InputError("the bundle's signature does not fit its contents; refused") from error
    return envelope.payload


def sealed(payload: bytes, envelope: Envelope | None, signer: Signer | None) -> Envelope:
    """An envelope around `payload` with the signatures of `envelope` and one of `signer` (each where given)."""
    made = Envelope(payload, PAYLOAD_TYPE, {} if envelope is None else dict(envelope.signatures))
    if signer is not None:
        made.sign(signer)
    return made


def envelope_bytes(envelope: Envelope) -> bytes:
    """The bytes of `bundle.sig`; the same envelope gives the same bytes."""
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode()


def _holds(envelope: Envelope, key: Key) -> bool:
    signature = envelope.signatures.get(key.keyid)
    if signature is None:
        return False
    try:
        key.verify_signature(signature, envelope.pae())
    except Exception:
        return False
    return True
