"""
``pushctl passwd``: keep a password file, with the flags and the manners of mosquitto_passwd.

Like Mosquitto 2.1's, and unlike older ones', it does not overwrite a file on ``-c``. Where mosquitto_passwd
would spoil something it is more careful: comments stay, ``-U`` leaves alone what is hashed already, a
password may contain a colon there, and the file is replaced as a whole or not at all.
"""

from __future__ import annotations

import getopt
import getpass
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pushd.auth.login_check import MAX_PASSWORD_BYTES
from pushd.auth.password_file import MAX_USERNAME_BYTES
from pushd.auth.password_hash import (
    DEFAULT_ITERATIONS,
    MAX_ITERATIONS,
    MIN_SCRAM_ITERATIONS,
    InvalidHash,
    ScramHash,
    make_argon2id,
    make_pbkdf2,
    make_scram,
    make_sha512,
    parse_hash,
)
from pushd.auth.saslprep import saslprep
from pushd.auth.security_file import BLANKS, SecurityFileError, read_security_file

USAGE = """\
Usage: pushctl passwd [-H hash] [-I iterations] [-c | -D] passwordfile username
       pushctl passwd [-H hash] [-I iterations] [-c] -b passwordfile username password
       pushctl passwd [-H hash] [-I iterations] -U passwordfile

 -b  take the password from the command line, where other users of this machine can see it.
 -c  create the file, which must not exist; with "-" as its name print the line instead.
 -D  delete the user.
 -H  sha512-pbkdf2, the default, which Mosquitto 2.0 and later read; argon2id, harder to break, which needs
     Mosquitto 2.1; scram-sha-256, for clients that prove their password without sending it, which no
     Mosquitto reads; or sha512, weak, for Mosquitto 1.6 and earlier.
 -I  rounds of sha512-pbkdf2 or scram-sha-256, default {iterations}. Those of scram-sha-256 are the client's
     work; at least {scram_iterations}.
 -U  hash the passwords of a file in plain text.
"""

# Mosquitto refuses symbolic links unless this is set; a name of its own would help nobody.
ALLOW_SYMLINKS = "MOSQUITTO_UNSAFE_ALLOW_SYMLINKS"

HASHES = ("argon2id", "sha512-pbkdf2", "scram-sha-256", "sha512")

ACTION_OF_FLAG = {"-c": "create", "-D": "delete", "-U": "upgrade"}


class PasswdError(Exception):
    """The command cannot be carried out; nothing was changed. The text is for standard error."""


@dataclass(frozen=True, slots=True)
class Command:
    """One invocation, checked for what belongs together."""

    path: str
    username: str = ""
    password: str | None = None  # from the command line (-b)
    action: str = "set"  # set | create | delete | upgrade
    hash_name: str = "sha512-pbkdf2"
    iterations: int = DEFAULT_ITERATIONS


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl passwd``.
    :return: the exit status: 0, or 1 with the reason on standard error.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE.format(iterations=DEFAULT_ITERATIONS, scram_iterations=MIN_SCRAM_ITERATIONS), end="")
        return 0 if arguments else 1
    try:
        command = read_arguments(arguments)
        ACTIONS[command.action](command)
    except (PasswdError, SecurityFileError) as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"Error: {problem.filename or 'password file'}: {problem.strerror}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nError: no password given.", file=sys.stderr)
        return 1
    return 0


def read_arguments(arguments: Sequence[str]) -> Command:
    """
    Flags end at the first word that is none, so a password may begin with a dash.

    :raises PasswdError: a flag is unknown, has no use beside another, or a word is missing or too much.
    """
    try:
        pairs, words = getopt.getopt(list(arguments), "bcDUH:I:")
    except getopt.GetoptError as problem:
        raise PasswdError(f"{problem.msg}; see pushctl passwd --help") from None
    flags = dict(pairs)
    _check_combination(flags)
    wanted = ["passwordfile"] if "-U" in flags else ["passwordfile", "username"]
    if "-b" in flags and "-U" not in flags:
        wanted.append("password")
    if len(words) != len(wanted):
        raise PasswdError(f"expected {' '.join(wanted)}; see pushctl passwd --help")
    hash_name = _checked_hash_name(flags.get("-H", "sha512-pbkdf2"))
    return Command(
        path=words[0],
        username=_checked_username(words[1]) if len(words) > 1 else "",
        password=checked_password(words[2]) if len(words) > 2 else None,
        action=next((action for flag, action in ACTION_OF_FLAG.items() if flag in flags), "set"),
        hash_name=hash_name,
        iterations=_checked_iterations(flags.get("-I", str(DEFAULT_ITERATIONS)), hash_name),
    )


def _check_combination(flags: dict[str, str]) -> None:
    for one, other in (("-c", "-D"), ("-c", "-U"), ("-D", "-U"), ("-b", "-D")):
        if one in flags and other in flags:
            raise PasswdError(f"{one} and {other} cannot be used together")


def _checked_username(username: str) -> str:
    """A name that the file can hold and that comes out of it again as it went in."""
    if not username:
        raise PasswdError("the user name is empty")
    if len(os.fsencode(username)) > MAX_USERNAME_BYTES:
        raise PasswdError(f"the user name is longer than {MAX_USERNAME_BYTES} bytes")
    if ":" in username:
        raise PasswdError("the user name must not contain ':'")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in username):
        raise PasswdError("the user name must not contain control characters")
    if any("\ud800" <= character <= "\udfff" for character in username):
        raise PasswdError("the user name is not UTF-8")
    if username[0] == "#" or username.strip(BLANKS) != username:
        raise PasswdError("the user name must not begin with '#' or a space, or end with a space")
    return username


def checked_password(password: str) -> str:
    """:raises PasswdError: no client can show this."""
    if not password:
        raise PasswdError("the password is empty")
    if len(os.fsencode(password)) > MAX_PASSWORD_BYTES:
        raise PasswdError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    return password


def _checked_hash_name(name: str) -> str:
    if name not in HASHES:
        raise PasswdError(f"unknown hash {name!r}: {', '.join(HASHES[:-1])} and {HASHES[-1]} are known")
    return name


def _checked_iterations(text: str, hash_name: str) -> int:
    fewest = MIN_SCRAM_ITERATIONS if hash_name == "scram-sha-256" else 1
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and fewest <= int(text) <= MAX_ITERATIONS):
        raise PasswdError(f"-I takes a number from {fewest} to {MAX_ITERATIONS}")
    return int(text)


def _create(command: Command) -> None:
    if command.path == "-":
        print(_entry(command, command.username, _password(command)))
        return
    if os.path.lexists(command.path):
        raise PasswdError(f"{command.path} exists; without -c the user is added to it")
    line = _entry(command, command.username, _password(command))
    # "x" fails if the file has come into being meanwhile, a symbolic link included.
    with open(command.path, "x", encoding="utf-8", opener=_open_private) as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(f"Adding password for user {command.username}")


def _set(command: Command) -> None:
    path, lines = _existing(command.path)
    entry = _entry(command, command.username, _password(command))
    mine = [at for at, line in enumerate(lines) if _user_of(line) == command.username]
    if mine:
        lines[mine[0]] = entry
        # A second line of the same name would keep the old password alive.
        lines = [line for at, line in enumerate(lines) if at not in mine[1:]]
    else:
        lines.append(entry)
    _replace(path, lines)
    print(f"{'Updating' if mine else 'Adding'} password for user {command.username}")


def _delete(command: Command) -> None:
    path, lines = _existing(command.path)
    others = [line for line in lines if _user_of(line) != command.username]
    if len(others) == len(lines):
        raise PasswdError(f"user {command.username} is not in {command.path}")
    _replace(path, others)


def _upgrade(command: Command) -> None:
    path, lines = _existing(command.path)
    _replace(path, [_upgraded(command, line, number) for number, line in enumerate(lines, start=1)])


def _upgraded(command: Command, line: str, number: int) -> str:
    username = _user_of(line)
    if username is None:
        return line
    password = line.partition(":")[2].strip(BLANKS)
    if not username or not password:
        raise PasswdError(f"{command.path}:{number}: expected username:password")
    with suppress(InvalidHash):
        parse_hash(password)
        return line
    try:
        return _entry(command, username, password)
    except PasswdError as problem:
        raise PasswdError(f"{command.path}:{number}: {problem}") from None


ACTIONS: dict[str, Callable[[Command], None]] = {
    "set": _set,
    "create": _create,
    "delete": _delete,
    "upgrade": _upgrade,
}


def _user_of(line: str) -> str | None:
    """The user whose line this is; ``None`` for a comment or a line that says nothing."""
    if line.startswith("#") or ":" not in line:
        return None
    return line.partition(":")[0].strip(BLANKS)


def _entry(command: Command, username: str, password: str) -> str:
    data = os.fsencode(password)  # what was typed, byte for byte, whatever its encoding
    if command.hash_name == "argon2id":
        return f"{username}:{make_argon2id(data)}"
    if command.hash_name == "sha512":
        return f"{username}:{make_sha512(data)}"
    if command.hash_name == "scram-sha-256":
        return f"{username}:{_scram_hash(username, data, command.iterations)}"
    return f"{username}:{make_pbkdf2(data, command.iterations)}"


def _scram_hash(username: str, password: bytes, iterations: int) -> ScramHash:
    """What a client of SCRAM shows is prepared by RFC 4013; another spelling would let nobody in."""
    try:
        spelt = saslprep(username)
    except ValueError as problem:
        raise PasswdError(f"the user name does not suit SCRAM: {problem}") from None
    if spelt != username:
        raise PasswdError(f"the user name does not suit SCRAM, which would spell it {spelt!r}")
    try:
        return make_scram(password, iterations)
    except UnicodeDecodeError:
        raise PasswdError("the password does not suit SCRAM: it is not UTF-8") from None
    except ValueError as problem:
        raise PasswdError(f"the password does not suit SCRAM: {problem}") from None


def _password(command: Command) -> str:
    return ask_password() if command.password is None else command.password


def ask_password(of: str = "") -> str:
    """
    A new password, from whoever sits at the terminal, or from two lines of standard input.

    :param of: whose it will be, if that is not clear.
    :raises PasswdError: it is none, or not the same twice.
    """
    password = checked_password(_ask(f"Password{of}: "))
    if _ask("Reenter password: ") != password:
        raise PasswdError("the passwords do not match")
    return password


def _ask(prompt: str) -> str:
    """Without an echo at a terminal; from a pipe two lines, as mosquitto_passwd reads them."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def _existing(path: str) -> tuple[str, list[str]]:
    """
    :return: the path to replace, links resolved where they are allowed, and the file's lines.
    :raises PasswdError: the file is a symbolic link.
    :raises SecurityFileError: it cannot be read.
    """
    if os.path.islink(path):
        if ALLOW_SYMLINKS not in os.environ:
            raise PasswdError(f"{path} is a symbolic link; set {ALLOW_SYMLINKS} to follow it")
        path = os.path.realpath(path)
    text = read_security_file(path)
    if os.stat(path).st_mode & stat.S_IRWXO:
        print(f"Warning: {path} is open to every user of this machine; chmod 600 it", file=sys.stderr)
    lines = text.split("\n")
    return path, lines[:-1] if lines[-1] == "" else lines


def _replace(path: str, lines: Sequence[str]) -> None:
    """
    Put a new file in the place of the old one, in one step: a broker that reads it now, or a power cut, finds
    either the old or the new. Owner, group and mode stay, for the broker may run as another user.

    :raises OSError: it cannot be written, or would have to change its owner; the old file is as it was.
    """
    old = os.stat(path)
    directory = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            new = os.fstat(descriptor)
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_directory(directory)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
