"""The defence: profiles, tables, the sanitiser, JPEG in the compressed domain, the certificate."""

from edgeguard.guard.certificate import Certificate, certificate
from edgeguard.guard.jpeg import JpegError, JpegInfo, encode_jpeg, read_jpeg_info, sanitize_jpeg
from edgeguard.guard.profile import GuardProfile, ProfileError, resolve_profile
from edgeguard.guard.sanitizer import Sanitizer, frame_to_tensor

__all__ = [
    "Certificate",
    "GuardProfile",
    "JpegError",
    "JpegInfo",
    "ProfileError",
    "Sanitizer",
    "certificate",
    "encode_jpeg",
    "frame_to_tensor",
    "read_jpeg_info",
    "resolve_profile",
    "sanitize_jpeg",
]
