"""What only the simulator has: memory on simulated GPUs, faults on demand, and answers that can be foretold."""
