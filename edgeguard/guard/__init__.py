"""The defence: profiles, tables, the sanitiser, JPEG in the compressed domain, the certificate."""

from edgeguard.dct.jpeg_encode import encode_jpeg
from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.errors import JpegError, ProfileError
from edgeguard.guard.certificate import Certificate, Proof, certificate, proof_of
from edgeguard.guard.passes import sanitize_jpeg
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.header import JpegInfo, read_jpeg_info

__all__ = [
    "Certificate",
    "GuardProfile",
    "JpegError",
    "JpegInfo",
    "ProfileError",
    "Proof",
    "Sanitizer",
    "certificate",
    "decode_rgb",
    "encode_jpeg",
    "proof_of",
    "read_jpeg_info",
    "resolve_profile",
    "sanitize_jpeg",
]
