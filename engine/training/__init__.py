"""One training, epoch by epoch: the trainer, the classifier's step, schedule, early stopping, checkpoints."""
