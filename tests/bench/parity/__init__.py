"""Our runner beside other programs: the same calls to the same engine, and what a call costs its maker."""
