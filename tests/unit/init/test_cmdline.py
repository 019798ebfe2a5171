# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from .conftest import Run


def parsed(run: Run, cmdline: str, *names: str) -> list[str]:
    show = "\n".join(f"printf '%s\\n' \"${name}\"" for name in names)
    return run(f'parse_cmdline "$1"\n{show}', cmdline).splitlines()


def test_defaults(run: Run) -> None:
    assert parsed(
        run,
        "console=ttyS0 quiet",
        *("root", "rootoptions", "rootrw", "rootrwoptions", "rootrwreset", "init", "rootinit"),
        *("rootrwfallback", "rootrwtries", "rootrwstale", "rootrwwait", "rootshell", "rootwait", "rootdelay"),
    ) == [
        *("", "noatime,nodiratime", "", "rw,noatime,mode=755", "no", "/sbin/init", "/sbin/init"),
        *("tmpfs", "3", "warn", "10", "no", "no", "0"),
    ]


@pytest.mark.parametrize(
    ("cmdline", "name", "value"),
    [
        ("root=/dev/a root=/dev/b", "root", "/dev/b"),
        ("root=UUID=12-34", "root", "UUID=12-34"),
        ("root=LABEL=a=b", "root", "LABEL=a=b"),
        ("  root=/dev/a\t\trootrw=/dev/b ", "rootrw", "/dev/b"),
        ("root=/dev/a -- root=/dev/b", "root", "/dev/a"),
        ("myroot=/dev/a root.x=/dev/b", "root", ""),
        ("ROOT=/dev/a", "root", ""),
        ("root=* rootrw=$HOME", "root", "*"),
        ("root=* rootrw=$HOME`id`$(id)", "rootrw", "$HOME`id`$(id)"),
        ("root=\\x", "root", "\\x"),
        ("rootrwoptions=", "rootrwoptions", ""),
        ("init= rootinit=", "init", "/sbin/init"),
        ("init=/bin/sh", "init", "/bin/sh"),
    ],
)
def test_words(run: Run, cmdline: str, name: str, value: str) -> None:
    assert parsed(run, cmdline, name) == [value]


@pytest.mark.parametrize(
    ("cmdline", "name", "value"),
    [
        ('rootrwoptions="rw,noatime"', "rootrwoptions", "rw,noatime"),
        ('"rootrwoptions=rw,noatime"', "rootrwoptions", "rw,noatime"),
        ('rootrw="LABEL=my  data" root=/dev/a', "rootrw", "LABEL=my  data"),
        ('rootrw="LABEL=my  data" root=/dev/a', "root", "/dev/a"),
        ('"rootrw=LABEL=my data"', "rootrw", "LABEL=my data"),
        ('dyndbg="file drivers/a.c +p; root=/dev/x" root=/dev/a', "root", "/dev/a"),
        ('dyndbg="file drivers/a.c +p; root=/dev/x"', "root", ""),
        ('a="x -- y" root=/dev/a', "root", "/dev/a"),
        # The kernel takes quotes away only around a whole value.
        ('rootrw=LABEL="my data"', "rootrw", 'LABEL="my data"'),
        ('root=/dev/a rootrw="never closed', "root", "/dev/a"),
        ('root=/dev/a rootrw="never closed', "rootrw", "never closed"),
        ('root=""', "root", ""),
    ],
)
def test_quotes(run: Run, cmdline: str, name: str, value: str) -> None:
    assert parsed(run, cmdline, name) == [value]


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        *((yes, "yes", False) for yes in ("yes", "YES", "Yes", "1", "true", "True", "on", "ON")),
        *((no, "no", False) for no in ("no", "NO", "0", "false", "off", "Off", "")),
        *((other, "no", True) for other in ("2", "y", "yess", "reset", "*")),
    ],
)
def test_yes_or_no(run: Run, value: str, expected: str, said: bool) -> None:
    for name in ("rootrwreset", "rootshell"):
        output = parsed(run, f"{name}={value}", name)
        assert output[-1] == expected
        assert (len(output) == 2) is said, output
        assert not said or f"{name}={value}" in output[0]


def test_reset_has_one_value_more(run: Run) -> None:
    assert parsed(run, "rootrwreset=MKFS", "rootrwreset") == ["mkfs"]


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        *(("5", "5", False), ("0", "0", False), ("010", "10", False), ("000", "0", False)),
        *(("", "10", True), ("-1", "10", True), ("1.5", "10", True), ("0x10", "10", True)),
        *(("9999999999999999999999", "10", True), ("1;reboot", "10", True)),
    ],
)
def test_numbers(run: Run, value: str, expected: str, said: bool) -> None:
    output = parsed(run, f"rootrwwait={value}", "rootrwwait")
    assert output[-1] == expected
    assert (len(output) == 2) is said, output


def test_choices(run: Run) -> None:
    names = ("rootrwfallback", "rootrwstale")
    assert parsed(run, "rootrwfallback=Reboot rootrwstale=KEEP", *names) == ["reboot", "keep"]
    said, *values = parsed(run, "rootrwfallback=panic rootrwstale=keep", *names)
    assert values == ["tmpfs", "keep"]
    assert "rootrwfallback=panic" in said


@pytest.mark.parametrize(
    ("cmdline", "value"), [("", "no"), ("rootwait", "yes"), ("rootwait=7", "7"), ("rootwait=x", "10")]
)
def test_rootwait(run: Run, cmdline: str, value: str) -> None:
    assert parsed(run, cmdline, "rootwait")[-1] == value


def test_environment_of_the_kernel_is_no_parameter(run: Run) -> None:
    """The kernel puts NAME=VALUE words that it does not know into the environment."""
    assert run('export rootrw=/dev/evil rest=x word=y; parse_cmdline ""; echo "[$rootrw]"') == "[]\n"


def test_a_long_line(run: Run) -> None:
    line = " ".join(f"word{number}={'x' * 20}" for number in range(140)) + " root=/dev/last"
    assert parsed(run, line, "root") == ["/dev/last"]
