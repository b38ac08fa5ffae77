"""What the operating system gives: files, worker processes, confinement, redirected output, power, addresses, HTTP."""
