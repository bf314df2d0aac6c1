"""Training data: any local file, folder or hub data set -> rows in fixed columns, memory-mapped."""
