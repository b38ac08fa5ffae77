"""OpenMV cameras over a serial port: packets, the link, the source."""
