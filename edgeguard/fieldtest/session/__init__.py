"""A field-test session: plan, recording, the guide for the operator."""
