"""Running a stage: transformers' Trainer around our batches, losses and checkpoints."""
