"""Evidence that people bring from elsewhere: features and out-of-fold predictions in files, matched to samples."""
