"""How many labels of a deployed classifier are proven against one square patch: three methods, one table."""
