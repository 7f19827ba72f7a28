"""How this installation is set up: each environment variable, its value here and what it means."""
