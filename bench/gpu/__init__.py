"""What a GPU does with every method: checks, then timings."""
