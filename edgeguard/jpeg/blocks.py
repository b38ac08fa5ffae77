"""Frames as grids of 8x8 blocks, padded by repeating the last row and column."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 8


def pad_to_blocks(frame: NDArray[np.uint8], rows: int = BLOCK, columns: int = BLOCK) -> NDArray[np.uint8]:
    """HxWxC with both sides enlarged to a multiple of 8, or of the size given (edge = "replicate")."""
    height, width = frame.shape[:2]
    if height % rows == 0 and width % columns == 0:
        return frame
    return np.pad(frame, ((0, -height % rows), (0, -width % columns), (0, 0)), mode="edge")


def split_blocks(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """HxWxC to (8, 8, H/8, W/8, C): row and column in the block first."""
    height, width, channels = padded.shape
    grid = padded.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    return grid.transpose(1, 3, 0, 2, 4)


def join_blocks(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inverse of `split_blocks`."""
    _, _, rows, columns, channels = blocks.shape
    return blocks.transpose(2, 0, 3, 1, 4).reshape(rows * BLOCK, columns * BLOCK, channels)


def check_frame(frame: NDArray[np.uint8]) -> None:
    """Raise ValueError unless `frame` is a uint8 HxWx3 array with at least one pixel."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"a frame is uint8 of shape HxWx3, got {frame.dtype} of shape {frame.shape}")
