"""Names of operators that say what a graph is."""

#: Operators of graphs that are quantized already.
QUANTIZED_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
)
