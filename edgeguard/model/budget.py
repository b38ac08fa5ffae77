"""What reading a .tflite may cost, whatever it says: a fixed number of tables and of bytes.

In a FlatBuffer many references may lead to one place. A file of 1.2 MB in which ten thousand tensors share one name of
a megabyte becomes 11 GB in a reader that follows each of them, and so do tables that lie over each other. The walk here
follows every reference as a reader does, but only counts.
"""

from edgeguard.errors import InputError
from edgeguard.model.table import Table

#: Tables of a file, each counted as often as a reference leads to it. Large transformers have twenty thousand.
MOST_TABLES = 100_000
#: Bytes of names, shapes and lists, counted in the same way; the weights are not copied and do not count.
MOST_BYTES = 32 << 20

#: Of a kind of table: fields that are vectors or texts with the size of an element, tables, and vectors of tables.
_Kind = tuple[dict[int, int], dict[int, str], dict[int, str]]
_KINDS: dict[str, _Kind] = {
    "Model": (
        {3: 1, 5: 4},
        {},
        {1: "OperatorCode", 2: "SubGraph", 4: "Buffer", 6: "Metadata", 7: "Signature", 8: "Named", 9: "External"},
    ),
    "OperatorCode": ({1: 1}, {}, {}),
    "SubGraph": ({1: 4, 2: 4, 4: 1}, {}, {0: "Tensor", 3: "Operator"}),
    "Tensor": ({0: 4, 3: 1, 7: 4}, {4: "Quantization", 6: "Sparsity"}, {9: "Variant"}),
    "Quantization": ({0: 4, 1: 4, 2: 4, 3: 8}, {5: "Union"}, {}),
    "Sparsity": ({0: 4, 1: 4}, {}, {2: "Dimension"}),
    "Dimension": ({}, {3: "Union", 5: "Union"}, {}),
    "Variant": ({0: 4}, {}, {}),
    "Operator": ({1: 4, 2: 4, 5: 1, 7: 1, 8: 4}, {4: "Union", 12: "Union"}, {}),
    "Union": ({}, {}, {}),
    "Buffer": ({}, {}, {}),
    "Metadata": ({0: 1}, {}, {}),
    "Signature": ({2: 1}, {}, {0: "Named", 1: "Named"}),
    "Named": ({0: 1}, {}, {}),
    "External": ({4: 1}, {}, {}),
}
#: As the first part of a kind, for unions: the table with the union, its field there, and its type.
_UNIONS: dict[tuple[str, int, int], dict[int, int]] = {
    ("Quantization", 5, 2): {3: 4},  # BlockwiseQuantization
    ("Quantization", 5, 3): {3: 4},  # MultiAxisQuantization
    ("Dimension", 3, 1): {0: 4},  # Int32Vector
    ("Dimension", 5, 1): {0: 4},
    ("Operator", 4, 3): {1: 4, 2: 4},  # ConcatEmbeddingsOptions
    ("Operator", 4, 17): {0: 4},  # ReshapeOptions
    ("Operator", 4, 30): {0: 4},  # SqueezeOptions
    ("Operator", 4, 111): {0: 1, 1: 1},  # VarHandleOptions
    ("Operator", 12, 5): {0: 1, 2: 1, 4: 4},  # StablehloCustomCallOptions
    ("Operator", 12, 21): {0: 1},  # StableHLOCompositeOptions
    ("Operator", 12, 23): {0: 4},  # StablehloCaseOptions
}


def spend(root: Table) -> None:
    """Walk everything that a reader of the schema's `Model` would follow.

    Raises:
        InputError: it is truncated, or exceeds the budget.
    """
    tables = size = 0
    waiting: list[tuple[Table, str]] = [(root, "Model")]
    while waiting:
        table, kind = waiting.pop()
        vectors, single, many = _KINDS[kind]
        tables += 1
        for number, element in vectors.items():
            size += table.vector(number, element)[1] * element
        for number, inner in single.items():
            if (found := table.table(number)) is None:
                continue
            waiting.append((found, inner))
            if inner == "Union":
                for field, element in _UNIONS.get((kind, number, table.number(number - 1, "<B")), {}).items():
                    size += found.vector(field, element)[1] * element
        for number, inner in many.items():
            _, length = table.vector(number, 4)
            if tables + len(waiting) + length > MOST_TABLES:
                raise _too_much()
            waiting += [(found, inner) for found in table.tables(number)]
        if tables + len(waiting) > MOST_TABLES or size > MOST_BYTES:
            raise _too_much()


def _too_much() -> InputError:
    return InputError(
        f"the .tflite costs too much to read: it announces more than {MOST_TABLES} parts or {MOST_BYTES >> 20} MiB of "
        "names and lists"
    )
