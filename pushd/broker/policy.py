"""What holds for everybody who comes in through one listener."""

from __future__ import annotations

from dataclasses import dataclass

from pushd.broker.interfaces import IAuthenticator, IAuthorizer


@dataclass(slots=True, eq=False)
class Policy:
    """
    One listener's rules. Shared by its connections, so a reload that replaces a part is seen by all at once.

    :ivar name: for log lines, such as ``port 1883``.
    :ivar mount_point: in front of every topic that its clients name, and hidden from them again.
    :ivar log_connections: whether connects and disconnects are worth a line.
    """

    name: str
    authenticator: IAuthenticator
    authorizer: IAuthorizer
    mount_point: str = ""
    allow_zero_length_clientid: bool = True
    auto_id_prefix: str = "auto-"
    log_connections: bool = True
