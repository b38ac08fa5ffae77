"""`edgeguard doctor` and `edgeguard bench`."""
