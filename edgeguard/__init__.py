"""EdgeGuard: defended vision models for a Raspberry Pi or a Coral, with the truth about what the defence holds."""

__version__ = "0.1.0"
