import numpy as np
import pytest

from edgeguard.audio.codebook import Codebook, blocks_of
from edgeguard.audio.spec import AudioInput
from edgeguard.errors import InputError


def _book(count: int = 16, seed: int = 0) -> Codebook:
    return Codebook(np.random.default_rng(seed).integers(0, 256, (count, 4), dtype=np.uint8))


def _levels(rows: int = 8, columns: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


def test_each_block_gets_the_nearest_word() -> None:
    book, levels = _book(), _levels()
    codes = book.encode(levels)
    for row in range(4):
        for column in range(6):
            block = levels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel().astype(int)
            distances = ((book.words.astype(int) - block) ** 2).sum(1)
            assert distances[codes[row, column]] == distances.min()


def test_decoding_puts_the_words_where_their_blocks_were() -> None:
    book = _book()
    codes = np.random.default_rng(2).integers(0, 16, (4, 6), dtype=np.uint8)
    assert np.array_equal(blocks_of(book.decode(codes)), book.words[codes.ravel()])


def test_planes_show_the_bits_as_one_and_minus_one() -> None:
    planes = _book().planes(np.array([[5]], np.uint8))
    assert ((planes[0, 0].astype(int) - 128) / 127).tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize("count", [2, 8, 16, 256])
def test_packed_codes_come_back(count: int) -> None:
    book = _book(count)
    codes = np.random.default_rng(3).integers(0, count, (5, 7), dtype=np.int64).astype(np.uint8)
    packed = book.pack(codes)
    assert len(packed) == -(-35 * book.bits // 8)
    assert np.array_equal(book.unpack(packed, 5, 7), codes)
    with pytest.raises(InputError, match="bytes, wanted"):
        book.unpack(packed + b"\0", 5, 7)


def test_sixteen_words_take_a_sixteenth_of_sixteen_bit_features() -> None:
    plain = AudioInput(8000, 8128)
    coded = AudioInput(8000, 8128, codec="vq:16", reads="codes", codebook=_book())
    assert (plain.stored_bytes, coded.stored_bytes) == (16384, 1024)
    rows, columns = coded.feature_shape
    codes = _book().encode(_levels(rows, columns))
    assert len(_book().pack(codes)) == coded.stored_bytes


def test_words_and_sides_that_cannot_be() -> None:
    with pytest.raises(InputError, match="2, 4, 8"):
        Codebook(np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="even"):
        blocks_of(np.zeros((3, 4), np.uint8))


def test_equal_words_are_equal_codebooks() -> None:
    assert _book() == _book()
    assert hash(_book()) == hash(_book())
    assert _book() != _book(seed=1)
