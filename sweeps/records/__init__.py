"""What a sweep keeps on disk."""
