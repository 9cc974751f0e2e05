"""What studies leave on the disk."""
