"""What is done to pairs before training: filters, duplicates, contamination, hard negatives, clusters."""
