"""Records of a sweep on disk: its folder, journals, and how its trials ended."""
