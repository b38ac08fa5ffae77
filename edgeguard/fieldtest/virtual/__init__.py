"""A rendered field and operator, to try a plan before it is printed."""
