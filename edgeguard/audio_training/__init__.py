"""Classifiers of sound on a workstation: training them, attacking them, tables of codecs."""
