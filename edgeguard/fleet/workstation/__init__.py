"""The workstation's part of a fleet; a board's wheel leaves it out.

keys        root, release and online keys, and the root metadata that names them
build       a bundle from a model, a configuration and golden images
publish     a TUF repository in a folder, for any static web server
devices     who belongs to the fleet: one-time tokens, public keys, revocation
collect     what devices say over MQTT, checked and kept
rollout     how a rollout fares, and when it is halted
page        the fleet as a page, JSON and Prometheus metrics
"""
