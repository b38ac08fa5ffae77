"""What `convert` does where nothing is said: for the command line and for Python alike. Imports nothing."""

#: The guard's profile, by name.
GUARD = "fd"
#: Share of images on which float and int8 have to agree (upper 95 % bound), 0 to 1.
MIN_AGREEMENT = 0.90
#: Signal to noise over an output's values on all gate images, dB.
MIN_SNR_DB = 15.0
