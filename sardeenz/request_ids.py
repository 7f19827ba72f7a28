"""Which of the request ids that callers send are repeated in answers and logs."""

import re

ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
"""One that is anything else is replaced by an id of our own."""
