"""Who may reach the app, as the person who starts it says, and whether it may start so at all.

    WHETSTONE_TOKEN      auto, or a secret of 16 letters and more: the address must carry it, once a browser
    WHETSTONE_PROXY      "ADDRESS HEADER" of a reverse proxy that signs people in: nothing else is let in
    WHETSTONE_PROXY_SECRET  what that proxy says in the header X-Whetstone-Proxy; a proxy on this machine must
    WHETSTONE_ORIGIN     scheme and host by which browsers know the app, where a proxy hides it
    WHETSTONE_INSECURE   1, or `-- --insecure` after `streamlit run app.py`: no sign-in beyond this machine

People sign in with Streamlit's [auth] or by that proxy; [roles] in secrets.toml says what each may do.
"""

import ipaddress
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import environ
from urllib.parse import quote, urlsplit

from streamlit import config
from streamlit.auth_util import get_secrets_auth_section, is_authlib_installed
from streamlit.runtime.secrets import secrets_singleton

from curation.ledger.people import ROLES, Role
from engine.contract.errors import UserError

MIN_TOKEN = 16
SECRET_HEADER = "x-whetstone-proxy"
EVERYONE = "*"
"""In [roles]: all others who are signed in."""


class AccessError(UserError):
    """The app may not start like this. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A reverse proxy that says in a header who is signed in."""

    address: str
    header: str
    """In lower case."""
    secret: str
    """What the proxy must say in SECRET_HEADER; "": its address is enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How the app may be reached."""

    hosts: tuple[str, ...]
    """By which names: server.allowedHosts."""
    token: str | None = None
    proxy: Proxy | None = None
    has_sign_in: bool = False
    """By Streamlit's [auth]."""
    origin: str | None = None
    roles: Mapping[str, Role]

    @property
    def needs_person(self) -> bool:
        return self.has_sign_in or self.proxy is not None

    def role_of(self, name: str) -> Role | None:
        return (self.roles.get(_plain(name)) or self.roles.get(EVERYONE)) if name else None


def access_of(given: Mapping[str, str], arguments: Sequence[str], *, address: str | None, hosts: Sequence[str],
              has_sign_in: bool, roles: Mapping[str, object], has_library: bool = True) -> Access:
    """given: the environment; arguments: the script's; address: what the server binds to, None: all of this machine's.

    Raises AccessError for what cannot be meant, and for an address that others reach without a sign-in.
    """
    proxy = _proxy_of(given.get("WHETSTONE_PROXY", ""), given)
    needs_person = has_sign_in or proxy is not None
    if needs_person and not roles:
        raise AccessError("people who sign in need roles; secrets.toml has none; add [roles] with lines such as "
                          f"\"ada@example.org\" = \"owner\" ({', '.join(ROLES)}; \"{EVERYONE}\" is everybody else)")
    if has_sign_in and not has_library:
        raise AccessError("signing in needs a library that is not installed; [auth] is in secrets.toml; pip install "
                          "\"Authlib>=1.3.2\"")
    unknown = next((f"{name} = {role}" for name, role in roles.items() if role not in ROLES), None)
    if unknown:
        raise AccessError(f"a role is one of {', '.join(ROLES)}; secrets.toml has {unknown}; mend it")
    is_insecure = "--insecure" in arguments or given.get("WHETSTONE_INSECURE") == "1"
    if not (is_loopback(address) or needs_person or is_insecure):
        raise AccessError(f"beyond this machine the app needs people to sign in; server.address is {address or 'all'} "
                          "and there is neither [auth] in secrets.toml nor WHETSTONE_PROXY; add one, bind to "
                          "127.0.0.1, or say --insecure after -- if everybody there may do everything")
    return Access(hosts=tuple(hosts), token=_token_of(given.get("WHETSTONE_TOKEN", "")), proxy=proxy,
                  has_sign_in=has_sign_in, origin=_origin_of(given.get("WHETSTONE_ORIGIN", "")),
                  roles={_plain(name): role for name, role in roles.items() if role in ROLES})


@cache
def current() -> Access:
    """This process's; read once. Raises AccessError."""
    roles = secrets_singleton.get("roles", {}) if secrets_singleton.load_if_toml_exists() else {}
    return access_of(environ, sys.argv[1:], address=config.get_option("server.address"),
                     hosts=config.get_option("server.allowedHosts"), has_sign_in=bool(get_secrets_auth_section()),
                     roles=dict(roles), has_library=is_authlib_installed())


def start() -> Access:
    """What the app starts under, said on the terminal where that is needed; ends the process where it may not start."""
    try:
        access = current()
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from error
    if access.token:
        address, port = config.get_option("server.address") or "127.0.0.1", config.get_option("server.port")
        print(f"  The address asks for a token: {access.origin or f'http://{address}:{port}'}/?token="
              f"{quote(access.token)}\n", flush=True)
    if not is_loopback(config.get_option("server.address")) and all(map(is_loopback, access.hosts)):
        print("  Others reach it by names and addresses in server.allowedHosts; none is listed.\n", flush=True)
    return access


def _plain(name: str) -> str:
    """An e-mail address as it is compared; other names are what they are."""
    return name.lower() if "@" in name else name


def is_loopback(address: str | None) -> bool:
    """Whether only this machine reaches what is bound to it."""
    try:
        return address == "localhost" or (address is not None and ipaddress.ip_address(address).is_loopback)
    except ValueError:  # a name may mean anything
        return False


def _token_of(text: str) -> str | None:
    if text in ("", "auto"):
        return secrets.token_urlsafe(24) if text else None
    return _checked_secret(text, "WHETSTONE_TOKEN is auto or")


def _checked_secret(text: str, rule: str) -> str:
    if len(text) < MIN_TOKEN or not text.isascii() or not text.isprintable() or text != text.strip():
        raise AccessError(f"{rule} a secret of {MIN_TOKEN} letters and more; got {len(text)} letters; choose another, "
                          "of ASCII without spaces around it")
    return text


def _proxy_of(text: str, given: Mapping[str, str]) -> Proxy | None:
    if not text.strip():
        return None
    try:
        address, header = text.split()
        proxy = Proxy(str(ipaddress.ip_address(address)), header.lower(), given.get("WHETSTONE_PROXY_SECRET", ""))
    except ValueError as error:
        raise AccessError(f"WHETSTONE_PROXY is an IP address and a header's name, such as \"10.0.0.5 X-Forwarded-User\""
                          f"; got {text!r}; mend it") from error
    if given.get("FORWARDED_ALLOW_IPS"):
        raise AccessError("behind WHETSTONE_PROXY the server itself must see who connects; FORWARDED_ALLOW_IPS is set; "
                          "leave it out")
    if proxy.secret:
        _checked_secret(proxy.secret, "WHETSTONE_PROXY_SECRET is")
    elif is_loopback(proxy.address):  # else any process of this machine could name anybody
        raise AccessError(f"a proxy on this machine must prove itself; WHETSTONE_PROXY is {text.strip()} and there is "
                          "no WHETSTONE_PROXY_SECRET; set it, and have the proxy send it as X-Whetstone-Proxy")
    return proxy


def _origin_of(text: str) -> str | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or text != f"{parts.scheme}://{parts.netloc}":
        raise AccessError("WHETSTONE_ORIGIN is a scheme and a host, such as https://labels.example.org; got "
                          f"{text!r}; mend it")
    return text
