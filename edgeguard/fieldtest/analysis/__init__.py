"""Scores of a recorded session, findings with intervals, the report."""
