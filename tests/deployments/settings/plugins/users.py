"""What of Mosquitto's dynamic security this deployment needs, as a plugin of pushd's."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from pushd.mqtt.topics import matches
from pushd.plugins import ALLOW, DENY, IGNORE, Access, ClientInfo, Login, Message, Plugin, Verdict

ACL_TYPES = {Access.WRITE: "publishClientSend", Access.READ: "publishClientReceive"}


class Users(Plugin):
    """Goes by the same file."""

    @dataclass(frozen=True)
    class Config:
        config_file: str

    config: Config

    def start(self) -> None:
        with open(self.config.config_file) as file:
            told = json.load(file)
        self._clients: dict[str, dict[str, Any]] = {one["username"]: one for one in told["clients"]}
        self._roles: dict[str, list[dict[str, Any]]] = {one["rolename"]: one["acls"] for one in told["roles"]}
        self._defaults: dict[str, bool] = told["defaultACLAccess"]

    def authenticate(self, login: Login) -> Verdict:
        client = self._clients.get(login.username or "")
        if client is None or login.password is None:
            return IGNORE
        salt, iterations = b64decode(client["salt"]), client["iterations"]
        shown = hashlib.pbkdf2_hmac("sha512", login.password, salt, iterations)
        return ALLOW if hmac.compare_digest(shown, b64decode(client["password"])) else DENY

    def authorize(self, client: ClientInfo, access: Access, topic: str) -> Verdict:
        kind = ACL_TYPES.get(access)
        if kind is None:
            return ALLOW
        for role in self._clients[client.username or ""]["roles"]:
            for acl in self._roles[role["rolename"]]:
                if acl["acltype"] == kind and matches(acl["topic"], topic):
                    return ALLOW if acl["allow"] else DENY
        return ALLOW if self._defaults[kind] else DENY


class Counter(Plugin):
    """Changes nothing."""

    count = 0

    def on_publish(self, client: ClientInfo, message: Message) -> None:
        self.count += 1
