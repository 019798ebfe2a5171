# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the real init, on trees of made-up programs."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from .conftest import Run

LOADER = "/lib/ld-test.so.1"


def elf(
    interpreter: str = "", *, bits: int = 64, order: str = "<", headers_at: int = 64, text_at: int = 900
) -> bytes:
    """An ELF file of two program headers, the second naming the interpreter."""
    text = interpreter.encode() + b"\0"
    wide = bits == 64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    size = 56 if wide else 32
    header = ident + struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH",
        *(2, 62, 1, 0, headers_at, 0, 0, 64 if wide else 52, size, 2 if interpreter else 1, 0, 0, 0),
    )

    def program_header(kind: int, offset: int, length: int) -> bytes:
        if wide:
            return struct.pack(f"{order}IIQQQQQQ", kind, 4, offset, 0, 0, length, length, 1)
        return struct.pack(f"{order}IIIIIIII", kind, offset, 0, 0, length, length, 4, 1)

    data = bytearray(max(1024, text_at + len(text), headers_at + 2 * size))
    data[: len(header)] = header
    data[headers_at : headers_at + 2 * size] = program_header(1, 0, 64) + program_header(
        3, text_at, len(text)
    )
    data[text_at : text_at + len(text)] = text
    return bytes(data)


class Root:
    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str, content: bytes = b"", mode: int = 0o755) -> None:
        path = self.path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)

    def link(self, name: str, target: str) -> None:
        path = self.path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    tree = Root(tmp_path / "newroot")
    tree.file("/bin/busybox", elf(LOADER))
    tree.file(LOADER, elf())
    tree.file("/bin/static", elf())
    return tree


BIG_ENDIAN_WORDS = """
elf_words() {
    elf=$(od -An -v -tx1 -j "$1" -N "$2" "$elf_file" | tr -d ' \\n' |
        sed 's/$/000000/; s/......../& /g')
}
"""

CHECK = 'if runs "$1" 0; then echo yes; else echo "$cause"; fi'


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/sbin/init", "../bin/busybox"),
        ("/sbin/init", "/bin/busybox"),
        ("/sbin/init", "../../../../bin/busybox"),
        ("/init", "bin/./../bin/busybox"),
        ("/sbin/init", "/bin/static"),
    ],
)
def test_links_lead_inside(run: Run, root: Root, link: str, target: str) -> None:
    root.link(link, target)
    assert run(CHECK, link) == "yes\n"


@pytest.mark.parametrize("target", ["usr/sbin", "/usr/sbin", "../usr/./sbin"])
def test_merged_usr(run: Run, root: Root, target: str) -> None:
    root.link("/sbin", target)
    root.link("/usr/sbin/init", "/lib/systemd/systemd")
    root.file("/lib/systemd/systemd", elf(LOADER))
    assert run(CHECK, "/sbin/init") == "yes\n"


def test_links_do_not_lead_outside(run: Run, root: Root) -> None:
    """What exists on this machine alone does not exist in the new root."""
    assert Path("/bin/sh").exists()
    root.link("/sbin/init", "/bin/sh")
    root.link("/sbin/climber", "../../../../../../../../../../bin/sh")
    for name in ("/sbin/init", "/sbin/climber"):
        assert run(CHECK, name) == "/bin/sh is missing\n"


@pytest.mark.parametrize(
    ("content", "mode", "cause"),
    [
        (b"", 0o755, "empty or not executable"),
        (elf(LOADER), 0o644, "empty or not executable"),
        (b"\0\1\2garbage", 0o755, "no program"),
        (elf(LOADER)[:40], 0o755, "cut short"),
        (elf(LOADER, order=">"), 0o755, "for another machine"),
        (elf("/lib/ld-other.so"), 0o755, "/lib/ld-other.so is missing or broken"),
        (b"#!/bin/nonexistent -x\n", 0o755, "/bin/nonexistent is missing"),
        (b"#!\n", 0o755, "names no interpreter"),
        (b"#!/sbin/init\n", 0o755, "too many interpreters"),
    ],
)
def test_what_cannot_start(run: Run, root: Root, content: bytes, mode: int, cause: str) -> None:
    root.file("/sbin/init", content, mode)
    assert cause in run(CHECK, "/sbin/init")


@pytest.mark.parametrize("content", [b"#!/bin/static\n", b"#! /bin/busybox sh\n", b"#!/bin/busybox\tsh -e"])
def test_scripts(run: Run, root: Root, content: bytes) -> None:
    root.file("/sbin/init", content)
    assert run(CHECK, "/sbin/init") == "yes\n"


def test_a_loop_of_links(run: Run, root: Root) -> None:
    root.link("/sbin/init", "loop")
    root.link("/sbin/loop", "init")
    assert "loop of links" in run(CHECK, "/sbin/init")


def test_a_directory_and_nothing(run: Run, root: Root) -> None:
    (root.path / "sbin/init").mkdir(parents=True)
    assert "is missing" in run(CHECK, "/sbin/init")
    assert "is missing" in run(CHECK, "/sbin/other")


def test_a_pipe_does_not_hang(run: Run, root: Root) -> None:
    (root.path / "sbin").mkdir()
    os.mkfifo(root.path / "sbin/init")
    assert "is missing" in run(CHECK, "/sbin/init")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("headers_at", "text_at"), [(64, 900), (64, 5000), (4000, 900), (2000, 7000)])
def test_the_loader_of_any_elf(
    run: Run, root: Root, bits: int, order: str, headers_at: int, text_at: int
) -> None:
    root.file("/bin/x", elf("/lib/ld x-1.so", bits=bits, order=order, headers_at=headers_at, text_at=text_at))
    script = 'resolved=$1; read_loader "$newroot$1"; echo "[$loader]"'
    if order == ">":  # as such a machine's od would show it
        script = BIG_ENDIAN_WORDS + script
    assert run(script, "/bin/x") == "[/lib/ld x-1.so]\n"


@pytest.mark.parametrize("content", [b"", b"\0garbage"])
def test_a_broken_loader(run: Run, root: Root, content: bytes) -> None:
    root.file(LOADER, content)
    assert f"{LOADER} is missing or broken" in run(CHECK, "/bin/busybox")
