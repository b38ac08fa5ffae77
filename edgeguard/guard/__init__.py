"""The defence: profiles, tables, the sanitiser, JPEG in the compressed domain, the certificate."""

from edgeguard.dct.profile import GuardProfile, ProfileError, resolve_profile
from edgeguard.guard.certificate import Certificate, certificate
from edgeguard.guard.passes import sanitize_jpeg
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.jpeg.decode import decode_rgb, encode_jpeg
from edgeguard.jpeg.header import JpegError, JpegInfo, read_jpeg_info

__all__ = [
    "Certificate",
    "GuardProfile",
    "JpegError",
    "JpegInfo",
    "ProfileError",
    "Sanitizer",
    "certificate",
    "decode_rgb",
    "encode_jpeg",
    "read_jpeg_info",
    "resolve_profile",
    "sanitize_jpeg",
]
