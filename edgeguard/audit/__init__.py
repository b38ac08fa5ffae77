"""What is wrong with training data: broken files, duplicates, wrong labels, poison, odd colors."""
