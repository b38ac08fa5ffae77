"""What the operating system gives: files, workers, redirected output, power, addresses, an HTTP server, confinement."""
