"""What training data are: hashes of each image, one root over all of them, and who signed it."""
