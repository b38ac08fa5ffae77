"""Networks whose label is proven against one square patch, and their loss. Not in a board's wheel."""
