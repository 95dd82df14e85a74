"""Which proxy a WebSocket is reached through, if any.

In: what the application asked for, and the environment's variables if it asked for those. Out: an address, checked.
Opens nothing; the way through is in ``tunnel.py``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import OptionError
from ..request import authority_of
from .address import NOT_PRINTABLE, Address, hide_secrets

__all__ = ["ENVIRONMENT", "Proxy", "check_proxy", "parse_proxy", "proxy_for"]

ENVIRONMENT: Final = "environment"

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080}

# Which variables speak of whom, the most fitting first. RFC 6455 §4.1: a SOCKS proxy before the one for HTTPS, and
# that before the one for HTTP.
_VARIABLES = {"wss": ("wss", "socks", "https", "all"), "ws": ("ws", "socks", "https", "http", "all")}

_MAX_SOCKS_WORD = 255  # bytes of a user or password, RFC 1929 §2


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is, and what it speaks.

    Args:
        scheme: ``"http"``, ``"https"``, ``"socks5"``, ``"socks5h"``, ``"socks4"`` or ``"socks4a"``.
        host: name or address, without brackets.
        port: TCP port.
        credentials: user and password, if there are any.
    """

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, and not HTTP."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether it looks the server's name up, and not we: always for HTTP, by the last letter for SOCKS."""
        return self.scheme not in ("socks5", "socks4")

    @property
    def url(self) -> str:
        """Its URL without credentials: this is what errors tell."""
        return f"{self.scheme}://{authority_of(self.host, self.port)}"


def check_proxy(given: object) -> None:
    """Check an option before anything is opened; what the environment says is read with each connection.

    Raises:
        OptionError: it is neither a proxy nor a wish for one.
    """
    if given is None or isinstance(given, bool) or given == ENVIRONMENT:
        return
    parse_proxy(given)


def proxy_for(address: Address, given: str | bool | None) -> Proxy | None:
    """The proxy for ``address``; ``None`` for a direct connection.

    Raises:
        OptionError: a variable of the environment names none.
    """
    if not given:
        return None
    if given is True or given == ENVIRONMENT:
        return _proxy_of_environment(address)
    return parse_proxy(given)


def _proxy_of_environment(address: Address) -> Proxy | None:
    # Here, because of all that is imported with us it is a fifth, by memory, and servers have no use for it.
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(f"{address.host}:{address.port}"):
        return None
    proxies = getproxies()
    for name in _VARIABLES[address.scheme]:
        if found := proxies.get(name):
            try:
                return parse_proxy(_completed(name, found))
            except OptionError as exc:  # of what nobody here has written
                raise OptionError(f"{name}_proxy of the environment", exc.value, exc.expected) from None
    return None


def _completed(name: str, found: str) -> str:
    # Without a scheme curl and Python take it for HTTP. macOS tells its SOCKS proxy as http://.
    host = found.removeprefix("http://")
    if name == "socks" and "://" not in host:
        return f"socks5h://{host}"
    return found if "://" in found else f"http://{found}"


def parse_proxy(url: object) -> Proxy:
    """Take the URL of a proxy apart.

    Raises:
        OptionError: it is not one, or it speaks SOCKS and the library for that is not installed. No password is told.
    """
    if not isinstance(url, str) or NOT_PRINTABLE.search(url):
        raise _refusal(url, "the URL of a proxy, True or None")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise _refusal(url, "the URL of a proxy") from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refusal(url, f"a URL that begins with {', '.join(f'{name}://' for name in _DEFAULT_PORTS)}")
    if not host or not host.isascii() or port == 0:
        raise _refusal(url, "a URL with a host in ASCII, and a port from 1 to 65535 if any")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _refusal(url, "a URL with nothing behind host and port")
    proxy = Proxy(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], _credentials_of(parts))
    if proxy.is_socks:
        _check_socks(proxy)
    return proxy


def _credentials_of(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _check_socks(proxy: Proxy) -> None:
    if importlib.util.find_spec("python_socks") is None:
        install = "pip install 'trio-websock[proxy]'"
        raise OptionError("proxy", proxy.url, f"http:// or https:// as long as python-socks is missing ({install})")
    for word in proxy.credentials or ():
        is_fitting = word.isascii() and len(word) <= _MAX_SOCKS_WORD
        # SOCKS 4 knows a user, but no password; one of SOCKS 5 has both.
        if not is_fitting or not (word or proxy.scheme in ("socks4", "socks4a")):
            raise OptionError("proxy", proxy.url, "with a user and a password of 1 to 255 ASCII characters, if any")


def _refusal(url: object, expected: str) -> OptionError:
    # An error is logged, and a password must not be. What is no URL may be a password all the same.
    return OptionError("proxy", hide_secrets(url) if isinstance(url, str) else type(url), expected)
