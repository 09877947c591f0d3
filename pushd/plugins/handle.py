"""The broker as a plugin sees it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from pushd.broker.broker import Broker
from pushd.mqtt.codes import ReasonCode
from pushd.plugins.shapes import ClientInfo, Message, broker_message, client_of


class BrokerHandle:
    """
    :ivar reactor: Twisted's, for timers, threads and connections of the plugin's own.
    """

    def __init__(self, broker: Broker, reactor: Any) -> None:
        self._broker = broker
        self.reactor = reactor

    def publish(self, message: Message) -> Deferred[ReasonCode]:
        """
        Publish a message of the plugin's own. No access rule and no plugin is asked about it.

        :return: fires when what must survive of it is durable, with ``SUCCESS``, ``NO_MATCHING_SUBSCRIBERS``,
            or ``QUOTA_EXCEEDED`` if there is no place for it.
        :raises ValueError: it cannot be sent, or only the broker may publish there.
        """
        outcome = self._broker.publish_durably(broker_message(message, self._broker.wheel.seconds()))
        return outcome if isinstance(outcome, Deferred) else succeed(outcome)

    def clients(self) -> list[ClientInfo]:
        """Everybody who is connected by MQTT."""
        sessions = self._broker.sessions.values()
        return [client_of(session, session.policy.name) for session in sessions if session.client is not None]

    def client(self, client_id: str) -> ClientInfo | None:
        """:return: the client with this client id, if it is connected."""
        session = self._broker.sessions.get(client_id)
        if session is None or session.client is None:
            return None
        return client_of(session, session.policy.name)

    def disconnect(
        self, client_id: str, code: ReasonCode = ReasonCode.ADMINISTRATIVE_ACTION, cause: str = ""
    ) -> bool:
        """
        Disconnect a client; its session is kept, or ends, as if it had lost its connection.

        :param code: what a version 5 client is told, as `cause` is.
        :return: whether it was connected.
        """
        session = self._broker.sessions.get(client_id)
        if session is None or session.client is None:
            return False
        session.client.connection.close(code, cause)
        return True

    def forget_verdicts(self) -> None:
        """
        Ask `Plugin.authorize` again for everything: what it allowed to publish and to read is remembered
        otherwise, as long as a topic is in use.
        """
        self._broker.access_rules_changed()
