"""Field tests of printed adversarial patches: sheets, patches, sessions, scores, reports."""
