"""Vector quantization of features: 2x2 blocks of 8-bit levels become the numbers of the nearest codewords.

Four levels become log2 K bits. Against features of 16 bits, K = 16 is 16:1.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError

SIDE = 2  # of a block; a codeword has SIDE * SIDE levels
PLUS, MINUS = 255, 1  # the levels of a plane's bits: +1 and -1 around 128, 127 to the unit


@dataclass(frozen=True, eq=False)
class Codebook:
    """Codewords, each at the place of its code.

    Attributes:
        words: uint8 (K, 4): the levels of a block, row by row. K is 2, 4, 8 ... 256.

    Example:
        >>> book = Codebook(np.array([[0, 0, 0, 0], [200, 200, 200, 200]], np.uint8))
        >>> book.encode(np.array([[10, 10, 180, 190], [10, 10, 200, 200]], np.uint8)).tolist()
        [[0, 1]]
    """

    words: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse what has no codes."""
        count = len(self.words)
        if self.words.shape != (count, SIDE * SIDE) or not 2 <= count <= 256 or count & (count - 1):
            raise InputError(f"a codebook holds 2, 4, 8 ... 256 words of 4 levels, not {self.words.shape}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codebook) and np.array_equal(self.words, other.words)

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def bits(self) -> int:
        """Of a code, log2 K: so many planes show it."""
        return len(self.words).bit_length() - 1

    @cached_property
    def sha256(self) -> str:
        """Names the codebook."""
        return hashlib.sha256(self.words.tobytes()).hexdigest()

    def encode(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The code of each block of (h, w) levels, (h / 2, w / 2): that of the nearest word, of equals the lower."""
        words = self.words.astype(np.int32)
        # |b - w|^2 less |b|^2, which no choice depends on; whole numbers, so that every machine says the same
        scores = (words * words).sum(1) - 2 * (blocks_of(levels).astype(np.int32) @ words.T)
        height, width = levels.shape
        return scores.argmin(1).astype(np.uint8).reshape(height // SIDE, width // SIDE)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Levels (2 h, 2 w) of codes (h, w)."""
        height, width = codes.shape
        squares = self.words[codes].reshape(height, width, SIDE, SIDE)
        return np.ascontiguousarray(squares.swapaxes(1, 2)).reshape(SIDE * height, SIDE * width)

    def planes(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The bits of codes (h, w) as levels (h, w, bits), the lowest bit first: 255 for one, 1 for zero."""
        ones = codes[..., None] >> np.arange(self.bits, dtype=np.uint8) & 1
        return np.where(ones, np.uint8(PLUS), np.uint8(MINUS))

    def pack(self, codes: NDArray[np.uint8]) -> bytes:
        """Codes as they are stored: `bits` bits each, the lowest first, the last byte filled with zeros."""
        ones = codes.ravel()[:, None] >> np.arange(self.bits, dtype=np.uint8) & 1
        return np.packbits(ones.astype(np.uint8).ravel(), bitorder="little").tobytes()

    def unpack(self, packed: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """The inverse of `pack`.

        Raises:
            InputError: another number of bytes.
        """
        wanted = -(-height * width * self.bits // 8)
        if len(packed) != wanted:
            raise InputError(f"the codes have {len(packed)} bytes, wanted {wanted}")
        ones = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[: height * width * self.bits]
        weights = 1 << np.arange(self.bits, dtype=np.uint16)
        return (ones.reshape(-1, self.bits) @ weights).astype(np.uint8).reshape(height, width)


def blocks_of(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 2x2 blocks of (h, w) levels, row by row, (h * w / 4, 4).

    Raises:
        InputError: a side is odd.
    """
    height, width = levels.shape
    if height % SIDE or width % SIDE:
        raise InputError(f"features of {height}x{width} have no 2x2 blocks: both sides must be even")
    squares = levels.reshape(height // SIDE, SIDE, width // SIDE, SIDE).swapaxes(1, 2)
    return np.ascontiguousarray(squares).reshape(-1, SIDE * SIDE)
