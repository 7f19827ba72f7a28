"""What happened and what was decided, as it is kept."""
