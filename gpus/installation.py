"""Who we are to the engines: names and keys derived from SECRET_KEY, so nothing secret is ever stored."""

import base64
import hashlib
import hmac

from django.conf import settings


def installation_id() -> str:
    """Tells our engines from those of another Sardeenz on the same host."""
    return hashlib.sha256(f"installation:{settings.SECRET_KEY}".encode()).hexdigest()[:12]


def engine_key(replica_id: int, generation: int) -> str:
    """The API key of one engine; every start of a replica has another."""
    about = f"engine:{replica_id}:{generation}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), about, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def fingerprint(text: str) -> str:
    """The same of the same text, within this installation; nobody without its secret learns what the text may be."""
    return hmac.new(settings.SECRET_KEY.encode(), f"fingerprint:{text}".encode(), hashlib.sha256).hexdigest()[:32]
