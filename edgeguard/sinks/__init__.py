"""Where results go: files, video, events, MQTT, Prometheus, a page. A sink is a context manager with `write`."""
