"""
From settings to objects: what each listener is made of. Reads like a bill of materials.

Reading files is kept apart from using them (`read_files`), so that a reload can do the first in a thread, and
does the second only when all of the first went well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakSet

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory

from pushd.auth.access_tokens import Standing
from pushd.auth.accounts import AccountAuthenticator
from pushd.auth.acl_file import AclAuthorizer, AclFile
from pushd.auth.acl_tree import Substitution
from pushd.auth.chain import AuthenticatorChain, AuthorizerChain
from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import LoginFailures
from pushd.auth.grants import GrantAuthorizer
from pushd.auth.password_file import PasswordFile, PasswordFileAuthenticator
from pushd.auth.scram import ScramMethod
from pushd.auth.tls_identity import StatedIdentity, TlsIdentity, X509Identity
from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.broker.interfaces import Credentials, IAuthenticator, PeerCertificate, Principal
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.tap import Tap, listen
from pushd.broker.telling import tell
from pushd.config.settings import LimitSettings, ListenerSettings, PluginSettings, SecuritySettings, Settings
from pushd.gateway.identity.scopes import ScopeAuthorizer
from pushd.mqtt.codes import ReasonCode, Version
from pushd.plugins.loading import LoadedPlugin, load
from pushd.plugins.table import ListenerPlugins, PluginTable
from pushd.rules.auto_subscribe import AutoRules
from pushd.rules.routing import RoutingRules
from pushd.service.gate import Entrance, Gate
from pushd.service.listening import Endpoint
from pushd.service.ports import AcceptingPort
from pushd.service.recheck import Grounds, Revoked
from pushd.transports.addresses import peer_address
from pushd.transports.protocol import MQTTFactory
from pushd.transports.proxy_protocol import ProxyFactory
from pushd.transports.tcp import TCPFactory
from pushd.transports.tls import (
    TlsContextFactory,
    TlsFactory,
    TlsFiles,
    build_context,
    peer_certificate,
    read_revoked,
)

if TYPE_CHECKING:
    from pushd.gateway.http.pages import Pages
    from pushd.gateway.identity.guards import Guard, Reception
    from pushd.gateway.ntfy.publish import PushDesk
    from pushd.gateway.site import GatewaySite
    from pushd.people.book import FriendBook
    from pushd.transports.websocket import WebSocketFactory


Led = TypeVar("Led", bound="MQTTFactory | Publisher")


@dataclass(frozen=True, slots=True)
class Office:
    """
    What all gateways of the process have beside pushes.

    :ivar is_admin: whether a user is named by ``admin_user``.
    :ivar make_pages: the pages, for the guard of one listener, and the broker as its callers see it.
    :ivar push_desk: what their push pages share.
    :ivar reception: what a listener's guard goes by beside names and passwords; ``None`` for nothing.
    """

    is_admin: Callable[[str], bool]
    make_pages: Callable[[Guard, Publisher], Pages]
    push_desk: Callable[[], PushDesk]
    reception: Callable[[Door], Reception | None] = lambda door: None


def _plain_desk() -> PushDesk:
    from pushd.gateway.ntfy.publish import PushDesk

    return PushDesk()


NO_OFFICE = Office(lambda username: False, lambda guard, publisher: {}, _plain_desk)


@dataclass(slots=True)
class ReadFiles:
    """
    What the files say that the settings name: by path, TLS contexts by listener, and plugins.

    :ivar routing: the routing rules, which are the same at all listeners.
    :ivar subscribing: the rules of automatic subscription, the same.
    :ivar table: the instances of `plugins`; whoever has a broker makes it.
    """

    passwords: dict[str | None, PasswordFile | None] = field(default_factory=lambda: {None: None})
    acls: dict[str | None, AclFile | None] = field(default_factory=lambda: {None: None})
    contexts: list[SSL.Context | None] = field(default_factory=list)
    revoked: dict[str | None, Revoked] = field(default_factory=dict)  # by list
    plugins: dict[PluginSettings, LoadedPlugin] = field(default_factory=dict)
    routing: RoutingRules | None = None
    subscribing: AutoRules | None = None
    table: PluginTable | None = None

    def warnings(self) -> list[str]:
        """What their authors should know, for the log."""
        files = [*self.passwords.values(), *self.acls.values()]
        return [warning for file in files if file is not None for warning in file.warnings]

    def plugins_of(self, listener: ListenerSettings) -> ListenerPlugins:
        """The plugins that a listener asks."""
        if not listener.security.plugins:
            return ListenerPlugins()
        assert self.table is not None  # or a door would be open that a plugin guards
        loaded = [self.plugins[plugin] for plugin in listener.security.plugins]
        return self.table.of_listener(loaded, listener.name)


def read_files(settings: Settings) -> ReadFiles:
    """
    Read each file that the settings name. Changes nothing, so it may run in a thread.

    :raises SecurityFileError: a password or ACL file that cannot be used.
    :raises TlsFileError: the same for a certificate, key or list.
    :raises PluginError: the same for a plugin.
    :raises RuleFileError: the same for a file of rules.
    """
    files = ReadFiles()
    if settings.routes_file is not None:
        files.routing = RoutingRules.read(settings.routes_file)
    if settings.autosubscribe_file is not None:
        files.subscribing = AutoRules.read(settings.autosubscribe_file)
    for listener in settings.listeners:
        security = listener.security
        if security.password_file not in files.passwords and security.password_file is not None:
            files.passwords[security.password_file] = PasswordFile.read(security.password_file)
        if security.acl_file not in files.acls and security.acl_file is not None:
            files.acls[security.acl_file] = AclFile.read(security.acl_file)
        tls_files = _tls_files(listener)
        files.contexts.append(None if tls_files is None else build_context(tls_files))
        if tls_files is not None and tls_files.crlfile is not None:
            files.revoked[tls_files.crlfile] = read_revoked(tls_files.crlfile)
        for plugin in security.plugins:
            if plugin not in files.plugins:
                files.plugins[plugin] = _load_plugin(plugin)
    return files


def _load_plugin(plugin: PluginSettings) -> LoadedPlugin:
    return load(plugin.origin, plugin.plugin, plugin.options, deny_special_chars=plugin.deny_special_chars)


# To draw some hashes of a file by: enough to have one of each sort, most probably.
SEEDS = [bytes([number]) for number in range(32)]

MakeAccounts: TypeAlias = "Callable[[CheckQueue, LoginFailures], AccountAuthenticator]"


class Logins:
    """What all doors share, or who guesses passwords would go from one to the next."""

    def __init__(
        self,
        broker: Broker,
        threads: int,
        make_accounts: MakeAccounts | None = None,
        make_grants: Callable[[], GrantAuthorizer] = GrantAuthorizer,
    ) -> None:
        """
        :param threads: how many there are to check passwords.
        :param make_accounts: called when the first door asks accounts.
        :param make_grants: the same for the access control list that belongs to them.
        """
        self._make_accounts = make_accounts
        self._make_grants = make_grants
        self.failures = LoginFailures(
            lambda: broker.limits.max_login_failures, broker.wheel.seconds, broker.counters.login_refused
        )
        self.queue = CheckQueue(threads)

    @cached_property
    def accounts(self) -> AccountAuthenticator:
        """Those of the process."""
        assert self._make_accounts is not None  # or a door would be open that nobody guards
        return self._make_accounts(self.queue, self.failures)

    @cached_property
    def grants(self) -> GrantAuthorizer:
        """Who decides by the access control list of the process."""
        return self._make_grants()


class Door:
    """
    One listener: what connections through it are made with, and what a reload may replace.

    :param gate: that of the process, as are `logins`.
    :param entrance: of the door that has stood in this one's place until now, with its ports.
    :param office: who may see and change everything by HTTP, and what there is.
    :param book: where friends stand; asked for only if access rules ask for them.
    :ivar settings: as they count now.
    :ivar entrance: decides who may come in.
    :ivar policy: for those who come now. Clients who were told of another, at CONNECT, keep that.
    :ivar policies: this one, and those that somebody still keeps.
    :ivar places: where it may be heard.
    :ivar ports: where it is.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        broker: Broker,
        gate: Gate,
        run_in_thread: Callable[..., Deferred[Any]],
        reactor: Any,
        logins: Logins,
        healthy: Callable[[], bool] = lambda: True,
        entrance: Entrance | None = None,
        office: Office = NO_OFFICE,
        book: Callable[[], FriendBook] | None = None,
    ) -> None:
        self.settings = settings
        self._office = office
        self._healthy = healthy
        self._logins = logins
        self._failures = logins.failures
        self._password_check = PasswordFileAuthenticator(None, run_in_thread, logins.queue, logins.failures)
        self._scram = ScramMethod(None, logins.failures)
        self._access_rules = AclAuthorizer(None)
        self._plugins = ListenerPlugins()
        self._book = book
        self._chain = AuthenticatorChain((), settings.security.allow_anonymous)
        self._authorizer = AuthorizerChain([self._access_rules])
        self._context: TlsContextFactory | None = None
        self._websocket: WebSocketFactory | None = None
        self._grounds = Grounds()
        self.policy = Policy(settings.name, self._chain, self._authorizer, **_told(settings))
        self.policies = WeakSet([self.policy])
        self._led: list[MQTTFactory | Publisher] = []  # those who go by the policy
        self.entrance = entrance or Entrance(gate, settings.name)
        self._inner = self._make_factory(broker, reactor)
        self._proxy = self._make_proxy(broker, gate)
        self.places: list[Endpoint] = []
        self.ports: list[AcceptingPort] = []

    def use(
        self,
        settings: ListenerSettings,
        files: ReadFiles,
        context: SSL.Context | None,
        clientid_prefixes: str | None = None,
    ) -> None:
        """Go by these settings and files from now on; connections that are open stay."""
        if _told(settings) != _told(self.settings):
            self._renew_policy(settings)
        self.settings = settings
        self._use_policy(settings, clientid_prefixes or "")
        self._use_security(settings, files)
        self.entrance.max_connections = settings.max_connections
        self.entrance.is_behind_proxy = settings.enable_proxy_protocol is not None
        if self._websocket is not None:
            self._websocket.origins = settings.websockets_origins
        if self._proxy is not None:
            self._proxy.require_certificate = settings.require_certificate
        tls_files = _tls_files(settings)
        if tls_files is None or context is None:
            return
        if self._context is None:
            self._context = TlsContextFactory(tls_files, context)
        else:
            self._context.use(tls_files, context)

    def _renew_policy(self, settings: ListenerSettings) -> None:
        self.policy = replace(self.policy, **_told(settings))
        self.policies.add(self.policy)
        for one in self._led:
            one.policy = self.policy

    def _use_policy(self, settings: ListenerSettings, clientid_prefixes: str) -> None:
        """What is asked at CONNECT only; whoever is on the way to it gets the newest policy."""
        policy = self.policy
        policy.allow_zero_length_clientid = settings.security.allow_zero_length_clientid
        policy.auto_id_prefix = settings.security.auto_id_prefix
        policy.accept_protocol_versions = frozenset(map(Version, settings.accept_protocol_versions))
        policy.use_username_as_clientid = settings.use_username_as_clientid
        policy.clientid_prefixes = clientid_prefixes

    def _use_security(self, settings: ListenerSettings, files: ReadFiles) -> None:
        security = settings.security
        passwords = files.passwords[security.password_file]
        self._use_plugins(files.plugins_of(settings))
        self._chain.allow_anonymous = security.allow_anonymous
        self._use_access_rules(security, files.acls[security.acl_file])
        self._use_passwords(passwords)
        self._grounds = Grounds(
            self._chain.authenticators,
            security.allow_anonymous,
            passwords,
            self._grounds.passwords,
            self._grounds.accounts,
            settings.require_certificate,
            files.revoked.get(settings.crlfile, frozenset()),
        )

    def _use_access_rules(self, security: SecuritySettings, acl: AclFile | None) -> None:
        book = None if acl is None or not acl.uses_friends or self._book is None else self._book()
        self._access_rules.replace(
            acl, Substitution(security.acl_substitution), security.acl_check_subscribe, book
        )
        for policy in self.policies:
            policy.asks_for_friends = book is not None

    def log(self, *, connections: bool, subscriptions: bool) -> None:
        """Whether lines about these are wanted, for everybody who came through this door."""
        for policy in self.policies:
            policy.log_connections = connections
            policy.log_subscriptions = subscriptions

    def still_admits(self, client: Client) -> bool:
        """Whether a client that is inside would be let in again; see `pushd.service.recheck`."""
        # The connection is an `MQTTProtocol`.
        return self._would_admit(client.session, getattr(client.connection, "transport", None))

    def still_tells(self, tap: Tap) -> bool:
        """The same of a caller of the gateway who listens."""
        return self._would_admit(tap.principal, getattr(tap.principal, "transport", None))

    def _would_admit(self, principal: Principal, transport: object) -> bool:
        credentials = Credentials(
            principal.client_id, principal.username, None, certificate=_identity(transport)
        )
        return self._grounds.admit(credentials, peer_certificate(transport))

    def asks_accounts_about(self, username: str | None) -> bool:
        """Whether somebody of this name who came through this door was let in by an account."""
        passwords = self._grounds.passwords
        in_file = passwords is not None and username is not None and passwords.find(username) is not None
        return self._grounds.accounts and bool(username) and not in_file

    @property
    def asks_accounts(self) -> bool:
        """Whether anybody is let in here by an account."""
        return self._grounds.accounts

    def standing(self, certificate: PeerCertificate | None, username: str) -> Standing:
        """
        What is known here of a user who shows a token instead of a password.

        :param certificate: the one that was shown with it. Where certificates say who somebody is, a token
            must not make anybody else of him.
        """
        own = self._authenticators()
        if isinstance(own[0], TlsIdentity):
            credentials = Credentials("", None, None, certificate=certificate)
            known = own[0].authenticate(credentials) is ReasonCode.SUCCESS
            return Standing.ADMITTED if known and credentials.username == username else Standing.UNKNOWN
        passwords = self._grounds.passwords
        if passwords is not None and passwords.find(username) is not None:
            return Standing.ADMITTED
        if self.asks_accounts:
            return Standing.BY_ACCOUNT
        # A plugin cannot be asked about a user without a password; nor can nobody.
        return Standing.ADMITTED if passwords is None or self._asks_plugins() else Standing.UNKNOWN

    def standing_of(self, tap: Tap, username: str) -> Standing:
        """The same of who listens already."""
        return self.standing(_identity(getattr(tap.principal, "transport", None)), username)

    def _asks_plugins(self) -> bool:
        return len(self._chain.authenticators) > len(self._authenticators())

    def _use_plugins(self, plugins: ListenerPlugins) -> None:
        """They are asked first, as in Mosquitto, and not about users where certificates say who they are."""
        own = self._authenticators()
        if own[0] is self._password_check:
            own = [*plugins.authenticators, *own, *plugins.last_authenticators]
        self._chain.authenticators = tuple(own)
        self._plugins = plugins
        self.use_grants()
        for policy in self.policies:
            policy.hooks = plugins.hooks

    def use_grants(self) -> None:
        """Ask the access control list before the ACL file: where accounts are asked, if it has entries."""
        asked = self.settings.security.accounts and self._logins.grants.in_use
        grants = (self._logins.grants,) if asked else ()
        scopes = (ScopeAuthorizer(),) if self.settings.protocol == "http" else ()
        self._authorizer.authorizers = (*scopes, *self._plugins.authorizers, *grants, self._access_rules)

    def _use_passwords(self, password_file: PasswordFile | None) -> None:
        self._password_check.replace(password_file)
        self._scram.replace(password_file)
        self._password_check.knows_all = not self.settings.security.accounts
        if password_file is not None and self.settings.security.accounts:
            self._logins.accounts.resemble(map(password_file.stand_in, SEEDS))
        # Not where a certificate says who somebody is: a password must not make them somebody else. Nor where
        # a plugin is asked first, for SCRAM goes round it.
        own = tuple(self._authenticators())
        alone = self._chain.authenticators == own and own[0] is self._password_check
        counts = password_file is not None and alone
        for policy in self.policies:
            policy.auth_methods = {self._scram.name: self._scram} if counts else {}

    def factory(self) -> IProtocolFactory:
        """What to listen with."""
        if self._proxy is not None:
            return self._proxy
        if self._context is None:
            return self._inner
        return TlsFactory(self._context, False, self._inner)

    def _authenticators(self) -> list[IAuthenticator]:
        if self.settings.use_identity_as_username and self.settings.knows_certificates:
            return [TlsIdentity("common_name")]
        if self.settings.use_subject_as_username and self.settings.tls:
            return [TlsIdentity("subject")]
        if self.settings.security.accounts:
            return [self._password_check, self._logins.accounts]
        return [self._password_check]

    def _make_factory(self, broker: Broker, reactor: Any) -> MQTTFactory | WebSocketFactory | GatewaySite:
        if self.settings.protocol == "http":
            # Not at the top: without a gateway the broker starts in 0.27 s instead of 0.38 s of CPU time,
            # and takes 50 MB instead of 58.
            from pushd.gateway.site import make_site

            publisher = self._lead(Publisher(broker, self.policy))
            return make_site(
                publisher,
                self._chain,
                reactor=reactor,
                connect_timeout_s=lambda: broker.limits.connect_timeout_s,
                healthy=self._healthy,
                peer_certificate=_identity,
                peer_address=peer_address,
                unreadable=self._failures.unreadable,
                upgrades={b"/mqtt": self._make_websocket_factory(broker)},
                is_admin=self._office.is_admin,
                reception=self._office.reception(self),
                make_pages=lambda guard: self._office.make_pages(guard, publisher),
                desk=self._office.push_desk(),
            )
        if self.settings.protocol == "websockets":
            return self._make_websocket_factory(broker)
        make = MQTTFactory if self.settings.tls else TCPFactory
        return self._lead(make(broker, self.policy, _identity))

    def _lead(self, one: Led) -> Led:
        self._led.append(one)
        return one

    def _make_websocket_factory(self, broker: Broker) -> WebSocketFactory:
        from pushd.transports.websocket import FramedMQTTFactory, WebSocketFactory  # as above: 20 ms

        mqtt = self._lead(FramedMQTTFactory(broker, self.policy, _identity))
        self._websocket = WebSocketFactory(mqtt, direct=not self.settings.tls)
        return self._websocket

    def _make_proxy(self, broker: Broker, gate: Gate) -> ProxyFactory | None:
        if self.settings.enable_proxy_protocol is None:
            return None
        return ProxyFactory(
            self._inner,
            self.settings.enable_proxy_protocol,
            broker,
            turn_s=gate.turn_s,
            require_tls=self.settings.proxy_protocol_v2_require_tls,
            require_certificate=self.settings.require_certificate,
        )


class Publisher:
    """
    The broker as the gateway of one listener sees it: bound by that listener's rules.

    :ivar policy: those; a reload may assign it.
    """

    def __init__(self, broker: Broker, policy: Policy) -> None:
        self._broker = broker
        self.policy = policy

    def publish(self, principal: Principal, publication: Publication) -> Deferred[ReasonCode]:
        """See `pushd.broker.broker.Broker.publish`."""
        return self._broker.publish(self.policy, principal, publication)

    def schedule(
        self, principal: Principal, publication: Publication, id: str, delay_s: float
    ) -> Deferred[ReasonCode]:
        """See `pushd.broker.broker.Broker.schedule`."""
        return self._broker.schedule(self.policy, principal, publication, id, delay_s)

    def tell(self, principal: Principal, publication: Publication, event: str) -> Deferred[ReasonCode]:
        """See `pushd.broker.telling.tell`."""
        return tell(self._broker, self.policy, principal, publication, event)

    def has_readers(self, topic: str) -> bool:
        """Whether anybody is subscribed to a topic, by MQTT or by a stream."""
        return bool(self._broker.router.route(self.policy.mount_point + topic).targets)

    def keep_s(self, topic: str) -> int:
        """See `pushd.broker.archive.Archive.keep_s`."""
        return self._broker.archive.keep_s(self.policy.mount_point + topic)

    def listen(
        self,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> Deferred[Tap | ReasonCode]:
        """See `pushd.broker.tap.listen`."""
        return listen(self._broker, self.policy, principal, filter, received, ended)


def limits_of(settings: LimitSettings) -> Limits:
    """The broker's share of the settings. Their names are the same."""
    return Limits(**{name: getattr(settings, name) for name in Limits.__dataclass_fields__})


def _told(settings: ListenerSettings) -> dict[str, Any]:
    """What a client learns at its CONNECT, or its session is recorded with: it must not change after that."""
    return {
        "mount_point": settings.mount_point,
        "max_qos": settings.max_qos,
        "max_topic_alias": settings.max_topic_alias,
        "max_topic_alias_broker": settings.max_topic_alias_broker,
    }


def _identity(transport: object) -> PeerCertificate | None:
    proxied = getattr(transport, "proxied_tls", None)  # of `ProxiedTransport`, and of what wraps one
    if proxied is not None:
        return StatedIdentity(proxied.common_name) if proxied.certified else None
    certificate = peer_certificate(transport)
    return None if certificate is None else X509Identity(certificate)


def _tls_files(listener: ListenerSettings) -> TlsFiles | None:
    if listener.certfile is None or listener.keyfile is None:
        return None
    return TlsFiles(
        certfile=listener.certfile,
        keyfile=listener.keyfile,
        cafile=listener.cafile,
        capath=listener.capath,
        require_certificate=listener.require_certificate,
        crlfile=listener.crlfile,
        tls_version=listener.tls_version,
        ciphers=listener.ciphers,
        ciphers_tls13=listener.ciphers_tls13,
        alpn=b"mqtt" if listener.protocol == "mqtt" else b"http/1.1",
    )
