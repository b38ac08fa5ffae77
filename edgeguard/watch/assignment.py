"""The cheapest pairs of a cost matrix, where a pair above a limit is none. In numpy: scipy is large for a board."""

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
    of_row, of_column = allowed.sum(axis=1), allowed.sum(axis=0)
    alone = allowed & (of_row == 1)[:, None] & (of_column == 1)[None, :]
    pairs = [(int(i), int(j)) for i, j in np.argwhere(alone)]
    rows = np.flatnonzero((of_row > 0) & ~alone.any(axis=1))
    columns = np.flatnonzero((of_column > 0) & ~alone.any(axis=0))
    if len(rows) and len(columns):
        left = np.minimum(costs[np.ix_(rows, columns)] - limit, 0.0)
        flat = left.shape[0] > left.shape[1]
        for i, j in _hungarian(left.T if flat else left):
            row, column = (rows[j], columns[i]) if flat else (rows[i], columns[j])
            if allowed[row, column]:
                pairs.append((int(row), int(column)))
    return sorted(pairs)


def _hungarian(costs: Costs) -> list[tuple[int, int]]:
    """A column for each row, at the smallest sum; not more rows than columns. Kuhn and Munkres, by shortest paths.

    Row and column 0 of the working arrays stand for "none".
    """
    rows, columns = costs.shape
    u, v = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of, way = np.zeros(columns + 1, np.int64), np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least, used = np.full(columns + 1, np.inf), np.zeros(columns + 1, bool)
        while True:
            used[column] = True
            at = row_of[column]
            free = np.flatnonzero(~used)
            reduced = costs[at - 1, free - 1] - u[at] - v[free]
            better = reduced < least[free]
            least[free[better]], way[free[better]] = reduced[better], column
            following = int(free[least[free].argmin()])
            delta = least[following]
            u[row_of[used]] += delta
            v[used] -= delta
            least[free] -= delta
            column = following
            if row_of[column] == 0:
                break
        while column:
            before = int(way[column])
            row_of[column], column = row_of[before], before
    return [(int(row_of[j]) - 1, j - 1) for j in range(1, columns + 1) if row_of[j]]
