"""A fleet of devices: signed bundles, updates that a device can take back, telemetry.

On the device (light: no numpy, no OpenCV in the agent's process):
    manifest, envelope, archive   what a bundle is, who signed it, its bytes
    trust, fetch                  The Update Framework's client, and how bytes are fetched
    layout, state                 the device's folder: slots, what is current, what is tried
    install                       verify, unpack into the idle slot, golden images, switch
    golden, golden_child          outputs that have to be the same
    service, probation            the run that is updated, and whether it is well
    identity, telemetry, link     the device's key, what it says, MQTT
    agent, looks                  all of it, once or again and again; when

`workstation` makes keys, bundles and repositories, and watches the fleet.
"""
