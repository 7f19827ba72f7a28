"""`python -m models_app.engines.simulator` runs one simulated engine."""

import sys

from models_app.engines.simulator.serve import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
