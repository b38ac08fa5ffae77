"""Keep the runtime from a processor's matrix unit (Intel AMX), for timings that say something about small boards.

With it, int8 convolutions on the newest Xeons cost next to nothing beside everything else; on a Raspberry Pi, on most
desktops and on older servers they are what an inference costs. The unit has to be asked for from the kernel, once a
process (arch_prctl, ARCH_REQ_XCOMP_PERM); a seccomp filter refuses that, and XNNPACK falls back to the vector unit.
"""

import ctypes
import struct

_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _EPERM = 158, 0x1023, 1  # x86-64
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # classic BPF: ld [k], jeq, ret
_REFUSE, _ALLOW = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
_NUMBER, _FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def refuse_amx() -> None:
    """From here on, in this process and its children; call it before the first inference.

    Raises:
        OSError: the kernel takes no filter.
    """
    instructions = b"".join(
        struct.pack("HBBI", *one)
        for one in (
            (_LOAD, 0, 0, _NUMBER),
            (_IF_EQUAL, 0, 3, _ARCH_PRCTL),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_IF_EQUAL, 0, 1, _ARCH_REQ_XCOMP_PERM),
            (_RETURN, 0, 0, _REFUSE | _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    kept = ctypes.create_string_buffer(instructions)
    program = _Program(len(instructions) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")
