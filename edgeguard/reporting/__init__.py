"""Charts and pages of the reports."""
