"""`python -m gateway.benchmark NUMBER` runs one benchmark that was asked for."""

import os
import sys

import django
import uvloop
from setproctitle import setproctitle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")
django.setup()

from gateway.benchmark import runner  # noqa: E402

if __name__ == "__main__":
    of = os.environ.get("SARDEENZ_SERVICE", "").partition(":")[0]
    setproctitle(f"sardeenz benchmark-{sys.argv[1]} [{of}]")  # as an installation's services are found
    uvloop.run(runner.perform(int(sys.argv[1])))
