"""Calls in flight, for those who look at them: nothing is counted, kept or told before somebody asks."""
