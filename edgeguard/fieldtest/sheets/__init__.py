"""Printed sheets: layout, PDF, tags, print check."""
