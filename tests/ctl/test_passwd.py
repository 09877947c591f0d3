"""`pushd.ctl.passwd`: the command, its files, and that Mosquitto and it read each other's."""

from __future__ import annotations

import getpass as getpass_module
import io
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import Argon2idHash, Pbkdf2Hash, ScramHash, Sha512Hash
from pushd.ctl.passwd import ALLOW_SYMLINKS, main


class PasswdTestCase(SynchronousTestCase):
    """Runs the command on a file of its own."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.stdout = self.stderr = ""

    standard_input: Callable[[str], Any] = staticmethod(io.StringIO)

    def run_command(self, *arguments: str | Path, stdin: str = "") -> int:
        """The exit status; what was printed is kept."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "stdin", self.standard_input(stdin)),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            status = main([str(argument) for argument in arguments])
        self.stdout, self.stderr = stdout.getvalue(), stderr.getvalue()
        return status

    def succeed(self, *arguments: str | Path, stdin: str = "") -> None:
        """The command does what it is told."""
        self.assertEqual(self.run_command(*arguments, stdin=stdin), 0, self.stderr)

    def refuse(self, message: str, *arguments: str | Path, stdin: str = "") -> None:
        """The command fails with status 1 and this message, and changes nothing."""
        before = self.path.read_bytes() if self.path.exists() else None
        self.assertEqual(self.run_command(*arguments, stdin=stdin), 1)
        self.assertIn(message, self.stderr)
        self.assertEqual(self.path.read_bytes() if self.path.exists() else None, before)
        leftovers = [name for name in os.listdir(self.path.parent) if name.startswith(f".{self.path.name}")]
        self.assertEqual(leftovers, [])

    def lets_in(self, username: str, password: str) -> bool:
        """Whether the file has this user with this password."""
        stored = PasswordFile.read(self.path).find(username)
        return stored is not None and stored.verify(os.fsencode(password))


class CreateTests(PasswdTestCase):
    """``-c``"""

    def test_file_is_made_for_its_owner_only(self) -> None:
        """With one user, and nobody else can read it, whatever the umask."""
        self.succeed("-c", "-b", self.path, "anna", "secret")
        self.assertTrue(self.lets_in("anna", "secret"))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_existing_file_is_not_overwritten(self) -> None:
        """All other users would be gone."""
        self.path.write_text("precious\n")
        self.refuse("exists", "-c", "-b", self.path, "anna", "secret")

    def test_dangling_link_is_not_followed(self) -> None:
        """A link that somebody put there does not decide where the file is made."""
        target = Path(self.mktemp())
        self.path.symlink_to(target)
        self.refuse("exists", "-c", "-b", self.path, "anna", "secret")
        self.assertFalse(target.exists())

    def test_dash_prints_the_line(self) -> None:
        """For a script that keeps its users elsewhere."""
        self.succeed("-c", "-b", "-", "anna", "secret")
        stored = PasswordFile.parse(self.stdout, "stdout").find("anna")
        assert stored is not None
        self.assertTrue(stored.verify(b"secret"))

    def test_missing_directory_is_named(self) -> None:
        """The message says what could not be written."""
        self.refuse("No such file or directory", "-c", "-b", self.path / "x", "anna", "secret")


class SetTests(PasswdTestCase):
    """A user is added, or has a new password."""

    def setUp(self) -> None:
        super().setUp()
        self.succeed("-c", "-b", self.path, "anna", "first")

    def test_user_is_added(self) -> None:
        """Those who are there stay."""
        self.succeed("-b", self.path, "bert", "other")
        self.assertTrue(self.lets_in("anna", "first"))
        self.assertTrue(self.lets_in("bert", "other"))

    def test_user_has_a_new_password(self) -> None:
        """The old one is of no use any more."""
        self.succeed("-b", self.path, "anna", "second")
        self.assertTrue(self.lets_in("anna", "second"))
        self.assertFalse(self.lets_in("anna", "first"))

    def test_other_lines_stay_as_they_are(self) -> None:
        """Comments, empty lines, odd bytes and line ends included; a last line gets its line feed."""
        before = b"# caf\xe9\r\n\nbert:hash\n#anna:x\n"
        self.path.write_bytes(before + b"anna:old\nlast")
        self.succeed("-b", self.path, "anna", "second")
        after = self.path.read_bytes()
        self.assertTrue(after.startswith(before + b"anna:$7$"), after)
        self.assertTrue(after.endswith(b"\nlast\n"), after)

    def test_second_line_of_the_user_goes(self) -> None:
        """It would make the file unreadable, or the old password valid."""
        self.path.write_text("anna:one\nbert:x\nanna :two\n")
        self.succeed("-b", self.path, "anna", "second")
        self.assertEqual(self.path.read_text().count("anna"), 1)
        self.assertIn("bert:x\n", self.path.read_text())

    def test_mode_is_kept(self) -> None:
        """A broker that runs as another user and reads by its group still can."""
        self.path.chmod(0o640)
        self.succeed("-b", self.path, "anna", "second")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertEqual(self.stderr, "")

    def test_file_that_everybody_can_read_is_worth_a_warning(self) -> None:
        """As in Mosquitto; the work is done nevertheless."""
        self.path.chmod(0o644)
        self.succeed("-b", self.path, "anna", "second")
        self.assertIn("Warning", self.stderr)

    def test_missing_file_is_an_error(self) -> None:
        """A wrongly typed path makes no new file."""
        self.refuse("No such file", "-b", self.path.with_name("other"), "anna", "x")
        self.assertFalse(self.path.with_name("other").exists())

    def test_failure_in_writing_leaves_the_old_file(self) -> None:
        """A full disk costs nobody their login, and no temporary file stays."""
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            self.refuse("No space left on device", "-b", self.path, "anna", "second")
        self.assertTrue(self.lets_in("anna", "first"))


class LinkTests(PasswdTestCase):
    """Symbolic links and what is no file."""

    def setUp(self) -> None:
        super().setUp()
        self.succeed("-c", "-b", self.path, "anna", "first")
        self.link = Path(self.mktemp())
        self.link.symlink_to(self.path.absolute())

    def test_link_is_refused(self) -> None:
        """As in Mosquitto 2.1."""
        self.refuse("symbolic link", "-b", self.link, "anna", "second")
        self.refuse("symbolic link", "-D", self.link, "anna")

    def test_link_is_followed_if_told_so(self) -> None:
        """And stays a link; its target is replaced."""
        with mock.patch.dict(os.environ, {ALLOW_SYMLINKS: "1"}):
            self.succeed("-b", self.link, "anna", "second")
        self.assertTrue(self.link.is_symlink())
        self.assertTrue(self.lets_in("anna", "second"))

    def test_directory_is_refused(self) -> None:
        """It is named."""
        self.refuse("Is a directory", "-b", ".", "anna", "second")


class DeleteTests(PasswdTestCase):
    """``-D``"""

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("# users\nanna:x\nbert:y\n")

    def test_user_is_deleted(self) -> None:
        """The others stay."""
        self.succeed("-D", self.path, "anna")
        self.assertEqual(self.path.read_text(), "# users\nbert:y\n")

    def test_unknown_user_is_an_error(self) -> None:
        """With status 1, so that a script notices."""
        self.refuse("user clara is not in", "-D", self.path, "clara")


class UpgradeTests(PasswdTestCase):
    """``-U``"""

    def test_plain_passwords_are_hashed(self) -> None:
        """Comments stay; a password may have a colon."""
        self.path.write_text("# users\nanna:first\n bert : a:b \n")
        self.succeed("-U", self.path)
        self.assertTrue(self.path.read_text().startswith("# users\n"))
        self.assertTrue(self.lets_in("anna", "first"))
        self.assertTrue(self.lets_in("bert", "a:b"))

    def test_second_time_changes_nothing(self) -> None:
        """A hash is not hashed again."""
        self.path.write_text("anna:first\n")
        self.succeed("-U", self.path)
        before = self.path.read_text()
        self.succeed("-U", self.path)
        self.assertEqual(self.path.read_text(), before)

    def test_line_without_a_password_is_an_error(self) -> None:
        """It is named by its number, and no line is changed."""
        self.path.write_text("anna:first\nbert:\n")
        self.refuse(f"{self.path}:2: expected username:password", "-U", self.path)

    def test_password_that_scram_cannot_use_is_an_error(self) -> None:
        """Named by its line, for the file may have many."""
        self.path.write_text("anna:first\nbert:\x01\n")
        self.refuse(f"{self.path}:2: the password does not suit", "-H", "scram-sha-256", "-U", self.path)


class HashTests(PasswdTestCase):
    """``-H`` and ``-I``"""

    def kind(self, *flags: str) -> object:
        """The hash that these flags make."""
        self.succeed("-c", *flags, "-b", "-", "anna", "secret")
        return PasswordFile.parse(self.stdout, "stdout").find("anna")

    def test_hash_is_what_was_asked_for(self) -> None:
        """PBKDF2 if nothing was."""
        self.assertIsInstance(self.kind(), Pbkdf2Hash)
        self.assertIsInstance(self.kind("-H", "sha512-pbkdf2"), Pbkdf2Hash)
        self.assertIsInstance(self.kind("-H", "argon2id"), Argon2idHash)
        self.assertIsInstance(self.kind("-H", "sha512"), Sha512Hash)
        self.assertIsInstance(self.kind("-H", "scram-sha-256"), ScramHash)

    def test_iterations_are_what_was_asked_for(self) -> None:
        """They stand in the line."""
        made = self.kind("-I", "77")
        assert isinstance(made, Pbkdf2Hash)
        self.assertEqual(made.iterations, 77)
        made = self.kind("-H", "scram-sha-256", "-I", "4096")
        assert isinstance(made, ScramHash)
        self.assertEqual(made.iterations, 4096)

    def test_bad_values_are_refused(self) -> None:
        """Before anything is written."""
        self.refuse("unknown hash 'md5'", "-H", "md5", "-b", self.path, "anna", "x")
        for count in ("0", "-1", "1e3", "99999999", ""):
            self.refuse("-I takes a number", "-I", count, "-b", self.path, "anna", "x")
        too_few = ("-H", "scram-sha-256", "-I", "4095")
        self.refuse("-I takes a number from 4096", *too_few, "-b", self.path, "anna", "x")

    def test_what_scram_cannot_use_is_refused(self) -> None:
        """A user who could never log in is not written down; the message does not show the password."""
        self.path.write_text("")
        for password, reason in (("p\udce9", "is not UTF-8"), ("\a", "U+0007 is not allowed")):
            self.refuse(reason, "-H", "scram-sha-256", "-b", self.path, "anna", password)
            self.assertNotIn(password, self.stderr)
        self.refuse("spell it 'IX'", "-H", "scram-sha-256", "-b", self.path, "\u2168", "x")
        self.refuse(
            "the user name does not suit SCRAM", "-H", "scram-sha-256", "-b", self.path, "\ue000", "x"
        )


class PasswordTests(PasswdTestCase):
    """Where the password comes from."""

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("")

    def test_password_is_read_twice(self) -> None:
        """From a pipe two lines."""
        self.succeed(self.path, "anna", stdin="secret \nsecret \n")
        self.assertTrue(self.lets_in("anna", "secret "))

    def test_different_passwords_are_refused(self) -> None:
        """A typing error locks nobody out."""
        self.refuse("do not match", self.path, "anna", stdin="secret\nSecret\n")

    def test_no_password_is_refused(self) -> None:
        """An empty line, nothing at all, and an empty argument."""
        self.refuse("the password is empty", self.path, "anna", stdin="\n\n")
        self.refuse("no password given", self.path, "anna", stdin="")
        self.refuse("no password given", self.path, "anna", stdin="secret\n")
        self.refuse("the password is empty", "-b", self.path, "anna", "")

    def at_terminal(self, **getpass: Any) -> mock.Mock:
        """Make standard input a terminal whose prompts are answered like this."""
        terminal = mock.Mock(**{"isatty.return_value": True})
        self.patch(self, "standard_input", lambda text: terminal)
        asked = mock.Mock(**getpass)
        self.patch(getpass_module, "getpass", asked)
        return asked

    def test_terminal_shows_nothing(self) -> None:
        """At a terminal the password is asked for without an echo."""
        asked = self.at_terminal(return_value="secret")
        self.succeed(self.path, "anna")
        self.assertEqual([call.args for call in asked.mock_calls], [("Password: ",), ("Reenter password: ",)])
        self.assertTrue(self.lets_in("anna", "secret"))

    def test_interrupt_at_the_prompt_is_no_traceback(self) -> None:
        """Control-C ends the command quietly."""
        self.at_terminal(side_effect=KeyboardInterrupt)
        self.refuse("no password given", self.path, "anna")

    def test_password_may_begin_with_a_dash(self) -> None:
        """Flags end at the first word that is none."""
        self.succeed("-b", self.path, "anna", "-D")
        self.assertTrue(self.lets_in("anna", "-D"))

    def test_password_is_taken_byte_for_byte(self) -> None:
        """Whatever the terminal's encoding was."""
        self.succeed("-b", self.path, "anna", "p\udce9")
        self.assertTrue(self.lets_in("anna", "p\udce9"))


class ArgumentTests(PasswdTestCase):
    """What does not go together."""

    def test_flags_that_exclude_each_other_are_refused(self) -> None:
        """As mosquitto_passwd refuses them."""
        for one, other in (("-c", "-D"), ("-c", "-U"), ("-D", "-U"), ("-b", "-D")):
            self.refuse(f"{one} and {other} cannot be used together", one, other, self.path, "anna")

    def test_missing_and_superfluous_words_are_refused(self) -> None:
        """The message says what was expected."""
        self.refuse("expected passwordfile username;", self.path)
        self.refuse("expected passwordfile username;", self.path, "anna", "secret")
        self.refuse("expected passwordfile username password;", "-b", self.path, "anna")
        self.refuse("expected passwordfile;", "-U", self.path, "anna")

    def test_unknown_flag_is_refused(self) -> None:
        """And named."""
        self.refuse("-x", "-x", self.path, "anna")
        self.refuse("-H", "-H")

    def test_name_that_the_file_cannot_hold_is_refused(self) -> None:
        """Each of these would be read back as another name, a comment or two lines."""
        for name in ("", "a:b", "a\nb", "\x7f", "a\x85", " anna", "anna ", "#anna", "a\udcff", "x" * 65_536):
            self.refuse("the user name", "-b", self.path, name, "secret")

    def test_help_is_printed(self) -> None:
        """To standard output, with status 0 if it was asked for."""
        self.succeed("--help")
        self.assertIn("Usage: pushctl passwd", self.stdout)
        self.assertEqual(self.run_command(), 1)


class MosquittoTests(PasswdTestCase):
    """Debian's mosquitto beside us."""

    def test_mosquitto_reads_our_file(self) -> None:
        """Who is added here logs in there, with both hashes that version 2.0 knows."""
        self.succeed("-c", "-b", self.path, "anna", "secret")
        self.succeed("-H", "sha512", "-b", self.path, "bert", "other")
        door = f"/tmp/pushd-{os.getpid()}.sock"  # the path of a socket may have 107 bytes only
        self.addCleanup(lambda: Path(door).unlink(missing_ok=True))
        settings = Path(self.mktemp())
        settings.write_text(f"user root\nlistener 0 {door}\npassword_file {self.path.absolute()}\n")
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        assert program is not None
        broker = subprocess.Popen([program, "-v", "-c", settings], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, broker)
        assert broker.stderr is not None
        self.assertTrue(any(" running" in line for line in broker.stderr), "mosquitto did not start")
        self.assertEqual(connack(door, b"anna", b"secret"), b"\x20\x02\x00\x00")
        self.assertEqual(connack(door, b"bert", b"other"), b"\x20\x02\x00\x00")
        self.assertEqual(connack(door, b"anna", b"other"), b"\x20\x02\x00\x05")

    def test_mosquitto_passwd_changes_our_file(self) -> None:
        """A user may go on with the tool they know."""
        self.succeed("-c", "-b", self.path, "anna", "first")
        subprocess.run(["mosquitto_passwd", "-b", self.path, "anna", "second"], check=True)
        self.assertTrue(self.lets_in("anna", "second"))

    def end(self, broker: subprocess.Popen[str]) -> None:
        """Stop a broker and wait for it."""
        broker.terminate()
        broker.communicate(timeout=10)


def connack(door: str, username: bytes, password: bytes) -> bytes:
    """What a broker answers to a CONNECT of version 3.1.1 with this name and password (v3 §3.1)."""
    fields = (b"\x00\x04MQTT\x04\xc2\x00\x0a", b"\x00\x01c", *map(sized, (username, password)))
    body = b"".join(fields)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(door)
        client.sendall(bytes([0x10, len(body)]) + body)
        return client.recv(4)


def sized(data: bytes) -> bytes:
    """Bytes with their length in front (v3 §1.5.3)."""
    return len(data).to_bytes(2, "big") + data
