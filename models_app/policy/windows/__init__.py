"""Windows: when they open, what is in force then, and how that comes about."""
