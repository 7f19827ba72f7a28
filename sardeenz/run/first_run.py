"""What a new installation needs before anybody can use it. Every step looks first, so repeating is harmless."""

import secrets
from typing import TypedDict

from django.contrib.auth.models import User

from gateway.access import keys
from gateway.models import Scope
from gpus import discovery
from models_app.catalogue import runtimes
from models_app.lifecycle import resume

ADMIN = "admin"


class Prepared(TypedDict):
    """What `sardeenz up` tells people; secrets are here once, when they are made, and stored only as hashes."""

    username: str
    password: str | None
    token: str
    api_key: str
    new_api_key: bool
    simulated: bool | None
    runtimes: list[str]


def prepare(*, token: str = "", api_key: str = "", new_password: bool = False, node: bool = True) -> Prepared:
    """Make the first admin, the command line's keys, the runtimes and the rows of this node if it is one."""
    password = _admin(renew=new_password)
    fresh = not (api_key and keys.find(api_key))
    if node and not new_password:  # a new password is made while everything runs
        resume.resume()
    owner = User.objects.filter(username=ADMIN).first()
    return {
        "username": ADMIN,
        "password": password,
        "token": token if token and keys.find(token) else keys.create("command line", [Scope.READ, Scope.MANAGE])[1],
        "api_key": keys.create("first key", [Scope.INFERENCE], owner)[1] if fresh else api_key,
        "new_api_key": fresh,
        "simulated": discovery.discover().simulated if node else None,
        "runtimes": [str(runtime) for runtime in runtimes.ensure_defaults()],
    }


def _admin(*, renew: bool) -> str | None:
    """The first admin's new password, or None when somebody can sign in already."""
    admin = User.objects.filter(username=ADMIN).first()
    if not renew and (admin or User.objects.filter(is_superuser=True).exists()):
        return None
    password = secrets.token_urlsafe(12)
    if admin is None:
        User.objects.create_superuser(ADMIN, password=password)
    else:
        admin.set_password(password)
        admin.save(update_fields=["password"])
    return password
