"""Sound: clips, codecs, features, vector quantization, the guard in one dimension, and microphones."""
