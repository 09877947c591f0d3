"""`pushd.plugins.options`: from text to a plugin's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Optional

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.plugins.options import OptionError, make_config


@dataclass(frozen=True)
class Everything:
    text: str = "t"
    number: int = 0
    amount: float = 0.0
    on: bool = False
    way: Literal["up", "down"] = "up"
    hosts: list[str] = field(default_factory=list)
    ports: tuple[int, ...] = ()
    maybe: int | None = None
    old: Optional[float] = None  # noqa: UP045  # what older code says


class Plain:
    url: str
    timeout: float = 2.0


def read(**options: str) -> Any:
    return make_config(Everything, list(options.items()))


class MakeConfigTests(SynchronousTestCase):
    def test_each_type(self) -> None:
        """A field has what its annotation says."""
        for name, text, value in (
            ("text", "a b # c", "a b # c"),
            ("number", "-12", -12),
            ("amount", "2.5", 2.5),
            ("on", "True", True),
            ("on", "0", False),
            ("way", "down", "down"),
            ("hosts", "a  b", ["a", "b"]),
            ("ports", "1 2", (1, 2)),
            ("maybe", "7", 7),
            ("old", "1e3", 1000.0),
        ):
            assert getattr(read(**{name: text}), name) == value, (name, text)

    def test_what_is_not_said_keeps_its_default(self) -> None:
        """No options at all make the default configuration."""
        assert make_config(Everything, []) == Everything()

    def test_a_class_need_not_be_a_dataclass(self) -> None:
        """It is made one."""
        config = make_config(Plain, [("url", "x")])
        assert (config.url, config.timeout) == ("x", 2.0)

    def test_lists_may_stand_on_several_lines(self) -> None:
        """In their order."""
        config = make_config(Everything, [("hosts", "a b"), ("number", "1"), ("hosts", "c")])
        assert config.hosts == ["a", "b", "c"]

    def test_refused(self) -> None:
        """The text names the option and what was wrong with it."""
        for options, told in (
            ([("number", "1.5")], "plugin_opt_number: '1.5' is not an integer"),
            ([("number", "1_0")], "plugin_opt_number: '1_0' is not an integer"),
            ([("amount", "nan")], "plugin_opt_amount: 'nan' is not a number"),
            ([("on", "yes")], "plugin_opt_on: 'yes' is not true or false"),
            ([("way", "left")], "plugin_opt_way: 'left' is not up or down"),
            ([("ports", "1 x")], "plugin_opt_ports: 'x' is not an integer"),
            ([("text", "a"), ("text", "b")], "plugin_opt_text is given twice"),
            ([("txet", "a")], "plugin_opt_txet is not an option of it; there are: text, number"),
        ):
            error = self.assertRaises(OptionError, make_config, Everything, options)
            assert str(error).startswith(told), (str(error), told)

    def test_missing(self) -> None:
        """A field without a default must be in the settings."""
        error = self.assertRaises(OptionError, make_config, Plain, [])
        assert str(error) == "plugin_opt_url is missing"

    def test_what_the_class_itself_refuses(self) -> None:
        """ValueErrors of __post_init__ are told as they are."""

        @dataclass
        class Picky:
            number: int = 0

            def __post_init__(self) -> None:
                raise ValueError("no number will do")

        error = self.assertRaises(OptionError, make_config, Picky, [("number", "1")])
        assert str(error) == "no number will do"

    @given(st.sampled_from(list(Everything.__dataclass_fields__)), st.text())
    def test_any_text(self, name: str, text: str) -> None:
        """Whatever stands in a file is read, or refused with a reason."""
        try:
            make_config(Everything, [(name, text)])
        except OptionError as error:
            assert name in str(error)

    @given(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False))
    def test_numbers_come_back(self, number: int, amount: float) -> None:
        """As they were written."""
        config = read(number=str(number), amount=repr(amount))
        assert (config.number, config.amount) == (number, amount)
