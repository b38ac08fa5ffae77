"""The cheapest pairs of a cost matrix, where a pair above a limit is none. In numpy: scipy is large for a board."""

import math

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]


def cheapest_pairs(costs: Costs, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column), each row and column at most once, whose costs less `limit` have the smallest sum.

    Args:
        costs: (rows, columns).
        limit: a pair that costs as much or more is never taken.

    Example:
        >>> cheapest_pairs(np.array([[0.1, 0.2], [0.2, 0.9]]), 0.8)
        [(0, 1), (1, 0)]
    """
    allowed = costs < limit
    if not allowed.any():
        return []
    of_row, of_column = allowed.sum(axis=1), allowed.sum(axis=0)
    alone = allowed & (of_row == 1)[:, None] & (of_column == 1)
    pairs = [(i, j) for i, j in np.argwhere(alone).tolist()]
    rows = ((of_row > 0) & ~alone.any(axis=1)).nonzero()[0]
    columns = ((of_column > 0) & ~alone.any(axis=0)).nonzero()[0]
    if len(rows) and len(columns):
        left = np.minimum(costs[rows][:, columns] - limit, 0.0)
        flat = left.shape[0] > left.shape[1]
        for i, j in _hungarian((left.T if flat else left).tolist()):
            row, column = (rows[j], columns[i]) if flat else (rows[i], columns[j])
            if allowed[row, column]:
                pairs.append((int(row), int(column)))
    return sorted(pairs)


def _hungarian(costs: list[list[float]]) -> list[tuple[int, int]]:
    """A column for each row, at the smallest sum; not more rows than columns. Kuhn and Munkres, by shortest paths.

    Row and column 0 of the working lists stand for "none". Lists: what is left to decide is a few rows, where an
    array's call takes longer than its arithmetic.
    """
    rows, columns = len(costs), len(costs[0])
    u, v = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of, way = [0] * (columns + 1), [0] * (columns + 1)
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least, free, used = [math.inf] * (columns + 1), list(range(1, columns + 1)), [0]
        while True:
            at = row_of[column]
            line, base = costs[at - 1], u[at]
            for j in free:
                reduced = line[j - 1] - base - v[j]
                if reduced < least[j]:
                    least[j], way[j] = reduced, column
            following = min(free, key=least.__getitem__)
            delta = least[following]
            for j in used:
                u[row_of[j]] += delta
                v[j] -= delta
            for j in free:
                least[j] -= delta
            column = following
            if row_of[column] == 0:
                break
            free.remove(column)
            used.append(column)
        while column:
            before = way[column]
            row_of[column], column = row_of[before], before
    return [(row_of[j] - 1, j - 1) for j in range(1, columns + 1) if row_of[j]]
