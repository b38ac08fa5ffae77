"""What the operating system gives: files, worker processes, redirected output, power, addresses, an HTTP server, confined
processes."""
