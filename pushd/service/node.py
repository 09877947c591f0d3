"""Which pushd this is, among those that share a Redis."""

from __future__ import annotations

import os
import re
import secrets

# In `persistence_location`.
FILE = "node"

_NODE = re.compile("[0-9a-f]{16}")


def node_name(folder: str | None) -> str:
    """
    A random name, the same at each start.

    :param folder: where it is kept; ``None`` for one that lasts as long as the process does.
    :raises OSError: it cannot be kept there.
    """
    if folder is None:
        return secrets.token_hex(8)
    path = os.path.join(folder, FILE)
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            node = file.read(100).strip()
    except FileNotFoundError:
        node = ""
    return node if _NODE.fullmatch(node) else _new_node(path)


def _new_node(path: str) -> str:
    node = secrets.token_hex(8)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{node}\n")
    os.replace(path + ".new", path)
    return node
