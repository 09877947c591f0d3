"""
What the lines of a settings file have said so far, and what it amounts to once the last one is read.

`pushd.config.reader` fills a `Draft`; `settle` turns it into `Settings`: defaults filled in, one set of
security settings per listener, and the checks that need more than one line (a certificate without its key).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from pushd.config.errors import BadValue, ConfigError, quoted
from pushd.config.options import LOG_TYPES, Option, Repeat
from pushd.config.settings import (
    LimitSettings,
    ListenerSettings,
    LogSettings,
    PluginSettings,
    SecuritySettings,
    Settings,
)

T = TypeVar("T")

DEFAULT_PORT = 1883
LOOPBACK = {None: ("127.0.0.1", "::1"), "ipv4": ("127.0.0.1",), "ipv6": ("::1",)}  # by socket_domain

# What a listener behind a proxy cannot have: its clients' TLS ends at the proxy.
NOT_PROXIED = ("certfile", "keyfile", "cafile", "capath", "crlfile", "use_subject_as_username")

# Where a field of the settings is not called what its option is called.
OPTION_OF_FIELD = {
    "max_keepalive_s": "max_keepalive",
    "connect_timeout_s": "connect_timeout",
    "persistent_client_expiration_s": "persistent_client_expiration",
    "sys_interval_s": "sys_interval",
    "ciphers_tls13": "ciphers_tls1.3",
    "websockets_origins": "websockets_origin",
    "timestamp": "log_timestamp",
    "timestamp_format": "log_timestamp_format",
    "facility": "log_facility",
}


@dataclass(slots=True)
class Block:
    """The options of one thing (the broker, a listener, a bridge, ...) as written, and where each was."""

    origin: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def keep(self, option: Option, value: object, origin: str) -> None:
        """
        Note one line, by the option's own rule for repetitions.

        :raises BadValue: it has been said before, and may be said once only.
        """
        if option.repeat is Repeat.ONCE and option.key in self.values:
            raise BadValue(f"is a duplicate of {self.origins[option.key]}")
        if option.repeat is Repeat.ALL:
            self.values.setdefault(option.key, []).append(value)
        else:
            self.values[option.key] = value
        self.origins[option.key] = origin


@dataclass(slots=True)
class Draft:
    """The state that reading leaves from line to line, and from file to included file."""

    whole: Block = field(default_factory=lambda: Block("defaults"))
    listeners: list[Block] = field(default_factory=list)
    default_listener: Block | None = None  # also one of `listeners`
    opened_by: str = ""  # the option that needed the default listener, if no line asked for it
    bridges: dict[str, Block] = field(default_factory=dict)
    loaded_plugins: dict[str, Block] = field(default_factory=dict)  # by the name that plugin_load gives
    local_only: bool = True  # until a listener, port or bind_address is seen
    per_listener: bool = False
    security_seen: bool = False  # too late now for per_listener_settings
    warnings: list[str] = field(default_factory=list)

    def add_listener(self, origin: str, port: int) -> Block:
        listener = Block(origin, {"port": port})
        self.listeners.append(listener)
        return listener

    def open_default_listener(self, origin: str) -> Block:
        """The listener that options get which stand before any: port 1883, every address."""
        if self.default_listener is None:
            self.default_listener = self.add_listener(origin, DEFAULT_PORT)
        return self.default_listener

    def default_listener_for(self, option: str, origin: str) -> Block:
        """The same, for an option that may not have meant to open one."""
        if self.default_listener is None:
            self.opened_by = option
        return self.open_default_listener(origin)

    def warn(self, origin: str, text: str) -> None:
        self.warnings.append(f"{origin}: {text}")


def settle(draft: Draft, ports: Sequence[int]) -> Settings:
    """
    Read the draft as one whole.

    :param ports: from the command line; they count only where the file opens no listener.
    :raises ConfigError: lines that are right alone and wrong together.
    """
    if draft.local_only:
        listeners = _local_listeners(draft, ports)
    else:
        _warn_of_unused_ports(draft, ports)
        _warn_of_default_listener(draft)
        listeners = tuple(_listener(draft, block) for block in _that_may_open(draft.listeners))
    return _filled(
        Settings,
        draft.whole.values,
        listeners=listeners,
        limits=_filled(LimitSettings, draft.whole.values),
        log=_log(draft.whole.values),
        warnings=tuple(draft.warnings),
    )


def _filled(shape: type[T], values: Mapping[str, Any], **known: Any) -> T:
    """A `shape` whose fields have the values of their options; what was not written keeps its default."""
    for name in (one.name for one in fields(shape)):  # type: ignore[arg-type]  # every shape is a dataclass
        option = OPTION_OF_FIELD.get(name, name)
        if name not in known and option in values:
            known[name] = values[option]
    return shape(**known)


def _that_may_open(listeners: Sequence[Block]) -> list[Block]:
    """
    Without those that pushd cannot open as they are described: it does not open them in some other way.

    :raises ConfigError: none is left.
    """
    shut = [(block, name) for block in listeners if (name := _what_keeps_it_shut(block))]
    if len(shut) == len(listeners):
        block, name = shut[0]
        told = f"{name} {block.values[name]} is not implemented yet, and there is no other listener"
        raise ConfigError(block.origins[name], told)
    return [block for block in listeners if not _what_keeps_it_shut(block)]


def _what_keeps_it_shut(block: Block) -> str:
    """The option that asks for what pushd does not have, or ''. The line of it has been warned of."""
    if block.values.get("psk_hint"):
        return "psk_hint"  # it would speak plain text where the file asks for encryption
    if block.values.get("protocol") == "http_api":
        return "protocol"  # Mosquitto's programs would meet an API that is not theirs
    return ""


def _local_listeners(draft: Draft, ports: Sequence[int]) -> tuple[ListenerSettings, ...]:
    """No listener was asked for: loopback, on each port, with the options the default listener got."""
    (block,) = _that_may_open([draft.default_listener or Block("local-only mode")])
    if "bind_interface" in block.values:
        # It wins over addresses, and would open to a network what is open to everybody on this machine.
        raise ConfigError(block.origins["bind_interface"], "bind_interface: needs a listener or port line")
    addresses = LOOPBACK[block.values.get("socket_domain")]
    if not ports:
        return (_listener(draft, block, port=DEFAULT_PORT, addresses=addresses),)
    return tuple(
        _listener(draft, block, port=port, addresses=addresses, origin=f"-p {port}") for port in ports
    )


def _warn_of_unused_ports(draft: Draft, ports: Sequence[int]) -> None:
    if ports:
        first = draft.listeners[0].origin
        draft.warn(f"-p {ports[0]}", f"ignored, because {first} opens a listener")


def _warn_of_default_listener(draft: Draft) -> None:
    """A door on every address, beside those that the file opens, because of the order of its lines."""
    block = draft.default_listener
    if block is not None and draft.opened_by and not block.origins.keys() & {"port", "bind_address"}:
        told = f"{draft.opened_by} stands before any listener line and so opens one on port {DEFAULT_PORT}"
        draft.warn(block.origin, told)


def _listener(draft: Draft, block: Block, **known: Any) -> ListenerSettings:
    _check_address(draft, block)
    _check_proxy(draft, block)
    _check_tls(draft, block)
    known.setdefault("origin", block.origin)
    known.setdefault("addresses", () if "path" in block.values else (block.values.get("bind_address", ""),))
    known["websockets_origins"] = tuple(block.values.get("websockets_origin", ()))
    return _filled(ListenerSettings, block.values, security=_security(draft, block), **known)


def _security(draft: Draft, block: Block) -> SecuritySettings:
    """What counts at one listener: what it says itself, else what the file says as a whole."""
    values = {"allow_anonymous": draft.local_only, **draft.whole.values, **block.values}
    return _filled(SecuritySettings, values, plugins=tuple(map(_plugin, _plugins(draft, values))))


def _plugins(draft: Draft, values: Mapping[str, Any]) -> list[Block]:
    """
    :param values: what counts at one listener.
    :raises ConfigError: it uses a plugin that no line has loaded.
    """
    plugins = [*values.get("global_plugin", ()), *values.get("plugin", ())]
    for name, origin in values.get("plugin_use", ()):
        if name not in draft.loaded_plugins:
            raise ConfigError(origin, f"plugin_use: there is no plugin_load line for {quoted(name)}")
        plugins.append(draft.loaded_plugins[name])
    return plugins


def _plugin(block: Block) -> PluginSettings:
    return PluginSettings(
        block.origin,
        block.values["plugin"],
        tuple(block.values.get("options", ())),
        block.values.get("auth_plugin_deny_special_chars", True),
    )


def _log(values: Mapping[str, Any]) -> LogSettings:
    known: dict[str, Any] = {}
    if "log_dest" in values:
        known["destinations"] = _destinations(values["log_dest"])
    if "log_type" in values:
        known["types"] = _log_types(values["log_type"])
    return _filled(LogSettings, values, **known)


def _destinations(words: Sequence[str]) -> tuple[str, ...]:
    """Lines add up, each place once; ``none`` forgets those before it."""
    chosen: dict[str, None] = {}
    for word in words:
        if word == "none":
            chosen.clear()
        else:
            chosen[word] = None
    return tuple(chosen) or ("none",)


def _log_types(words: Sequence[str]) -> frozenset[str]:
    """Lines add up; ``none`` forgets those before it, ``all`` is every type there is."""
    chosen: set[str] = set()
    for word in words:
        if word == "none":
            chosen.clear()
        else:
            chosen.update(LOG_TYPES if word == "all" else (word,))
    return frozenset(chosen)


def _check_address(draft: Draft, block: Block) -> None:
    """Where the lines about addresses contradict each other, say which one counts."""
    if "path" in block.values:
        if "bind_interface" in block.values:
            origin = block.origins["bind_interface"]
            raise ConfigError(origin, "bind_interface: a unix socket is on no network interface")
        if "socket_domain" in block.values:
            origin = block.origins["socket_domain"]
            draft.warn(origin, "socket_domain has no effect on a unix socket; ignored")
    elif block.values.get("bind_interface") and block.values.get("bind_address"):
        draft.warn(block.origins["bind_interface"], "bind_interface wins over the address of this listener")


def _check_proxy(draft: Draft, block: Block) -> None:
    """Refuse locks that a door behind a proxy does not have."""
    if "enable_proxy_protocol" in block.values:
        origin = block.origins["enable_proxy_protocol"]
        for name in NOT_PROXIED:
            if block.values.get(name):
                raise ConfigError(origin, f"enable_proxy_protocol: cannot be used together with {name}")
    if block.values.get("proxy_protocol_v2_require_tls") and not _knows_proxied_tls(block):
        origin = block.origins["proxy_protocol_v2_require_tls"]
        raise ConfigError(origin, "proxy_protocol_v2_require_tls: needs enable_proxy_protocol 2")


def _knows_proxied_tls(block: Block) -> bool:
    """Whether a proxy tells this listener of its clients' TLS."""
    return block.values.get("enable_proxy_protocol") == 2


def _check_tls(draft: Draft, block: Block) -> None:
    """
    Refuse what would leave a door without the lock that the file describes.

    Mosquitto lets `require_certificate` pass on a listener without a certificate of its own, and then
    asks nobody for anything.
    """
    if _knows_proxied_tls(block):
        return  # certificates are the proxy's business, and it says what came of them
    for needy, needed in (
        ("certfile", ("keyfile",)),
        ("keyfile", ("certfile",)),
        ("cafile", ("certfile",)),
        ("capath", ("certfile",)),
        ("require_certificate", ("certfile",)),
        ("require_certificate", ("cafile", "capath")),
    ):
        if block.values.get(needy) and not any(name in block.values for name in needed):
            raise ConfigError(
                block.origins[needy], f"{needy}: needs {' or '.join(needed)} on this listener too"
            )
    for name in ("use_identity_as_username", "use_subject_as_username", "crlfile"):
        if block.values.get(name) and "certfile" not in block.values:
            draft.warn(block.origins[name], f"{name} has no effect on a listener without certfile; ignored")
