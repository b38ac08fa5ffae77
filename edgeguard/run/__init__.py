"""`edgeguard run`: its settings, the loop around the pipeline, throttling, systemd."""
