"""
Enhanced authentication (v5 §4.12): a method that takes more than one packet each way.

The same exchange serves twice: between CONNECT and CONNACK, and again when an online client wants to
re-authenticate. What differs is what happens when it ends.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred

from pushd.broker.interfaces import AuthStep, Credentials, IAuthExchange, IAuthMethod
from pushd.mqtt.codes import PropertyId, ReasonCode
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Auth, Properties


class Exchange:
    """
    One run of a method.

    :ivar finished: whether the method expects no more of the client.
    """

    __slots__ = ("_running", "finished", "method")

    def __init__(self, method: IAuthMethod, credentials: Credentials) -> None:
        self.method = method.name
        self.finished = False
        self._running: IAuthExchange = method.begin(credentials)

    def step(self, packet_properties: Properties) -> Deferred[AuthStep] | AuthStep:
        """
        What the method answers to a CONNECT or an AUTH.

        :raises ProtocolError: the packet is of another method (v5 [MQTT-4.12.0-5]).
        """
        if packet_properties.get(PropertyId.AUTHENTICATION_METHOD) != self.method:
            raise ProtocolError("AUTH of another method", ReasonCode.PROTOCOL_ERROR)
        data = packet_properties.get(PropertyId.AUTHENTICATION_DATA)
        return self._running.step(cast("bytes | None", data))

    def answer(self, step: AuthStep) -> Auth:
        """The AUTH that carries this step; a CONNACK has its properties (v5 [MQTT-4.12.0-5])."""
        self.finished = step.code is not ReasonCode.CONTINUE_AUTHENTICATION
        properties: Properties = {PropertyId.AUTHENTICATION_METHOD: self.method}
        if step.data is not None:
            properties[PropertyId.AUTHENTICATION_DATA] = step.data
        return Auth(step.code, properties)
