# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superblocks and partition tables, made byte by byte from their published layouts."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from .conftest import Run

UUID = uuid.UUID("3fbf0097-4dff-47f4-9a61-31abac628e8f")


def image(path: Path, parts: dict[int, bytes], size: int = 70_000) -> Path:
    data = bytearray(size)
    for offset, content in parts.items():
        data[offset : offset + len(content)] = content
    path.write_bytes(data)
    return path


def ext(compat: int, incompat: int, ro_compat: int, label: bytes = b"data") -> dict[int, bytes]:
    return {
        1024 + 56: b"\x53\xef",
        1024 + 92: struct.pack("<III", compat, incompat, ro_compat),
        1024 + 104: UUID.bytes,
        1024 + 120: label,
    }


def f2fs(label: str) -> dict[int, bytes]:
    return {1024: b"\x10\x20\xf5\xf2", 1024 + 108: UUID.bytes, 1024 + 124: label.encode("utf-16-le")}


FILE_SYSTEMS = {
    "ext2": ("ext2", ext(0x38, 0x2, 0x3)),
    "ext3, which ext4 serves": ("ext4", ext(0x3C, 0x2, 0x3)),
    "ext4": ("ext4", ext(0x3C, 0x2C2, 0x46B)),
    "ext4 without journal": ("ext4", ext(0x38, 0x242, 0x7B)),
    "ext2 with what only ext4 may write": ("ext4", ext(0x38, 0x2, 0x43)),
    "ext4 with large directories": ("ext4", ext(0x38, 0x4002, 0x3)),
    "f2fs": ("f2fs", f2fs("data")),
    "erofs": ("erofs", {1024: b"\xe2\xe1\xf5\xe0", 1024 + 48: UUID.bytes, 1024 + 64: b"data"}),
    "xfs": ("xfs", {0: b"XFSB", 32: UUID.bytes, 108: b"data"}),
    "btrfs": ("btrfs", {65536 + 32: UUID.bytes, 65536 + 64: b"_BHRfS_M", 65536 + 299: b"data"}),
}


@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_superblock(run: Run, tmp_path: Path, name: str) -> None:
    expected, parts = FILE_SYSTEMS[name]
    device = image(tmp_path / "device", parts)
    script = (
        'label_hex data; read_superblock "$1"; echo "$sb_type $sb_uuid"; '
        '[ "$sb_label" = "$label" ] || [ "$sb_label" = "$label_wide" ]'
    )
    assert run(script, str(device)) == f"{expected} {UUID}\n"


def test_squashfs_has_an_identity_without_uuid(run: Run, tmp_path: Path) -> None:
    identities = {
        run(
            'read_superblock "$1"; echo "$sb_type $sb_uuid"',
            str(
                image(tmp_path / "device", {0: b"hsqs", 8: struct.pack("<I", made), 40: struct.pack("<Q", 9)})
            ),
        )
        for made in (1, 2)
    }
    assert len(identities) == 2
    assert all(identity.startswith("squashfs ") for identity in identities)


@pytest.mark.parametrize("parts", [{}, {0: b"\x55" * 70_000}, {510: b"\x55\xaa", 54: b"FAT16"}], ids=str)
def test_no_known_file_system(run: Run, tmp_path: Path, parts: dict[int, bytes]) -> None:
    device = image(tmp_path / "device", parts)
    assert run('read_superblock "$1" || echo "unknown [$sb_type]"', str(device)) == "unknown []\n"


def test_a_device_shorter_than_a_superblock(run: Run, tmp_path: Path) -> None:
    device = image(tmp_path / "device", {}, size=1000)
    assert run('read_superblock "$1" || echo unknown', str(device)) == "unknown\n"


@pytest.mark.parametrize("label", ["data", "my data", "é", "a*b", '"q"', "x" * 16])
def test_labels_are_compared_exactly(run: Run, tmp_path: Path, label: str) -> None:
    device = image(tmp_path / "device", ext(0, 2, 0, label.encode()))
    script = 'label_hex "$2"; read_superblock "$1"; [ "$sb_label" = "$label" ] && echo same || echo other'
    assert run(script, str(device), label) == "same\n"
    assert run(script, str(device), label[:-1]) == "other\n"


@pytest.mark.parametrize("block", [512, 4096])
def test_gpt(run: Run, tmp_path: Path, block: int) -> None:
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 128, 128)
    entry = bytes(16) + UUID.bytes_le
    disk = image(tmp_path / "disk", {block: header, 2 * block + 128: entry})
    script = f'gpt_block_size() {{ gpt_block={block}; }}; gpt_partuuid "$1" "$2"; echo "$partuuid"'
    assert run(script, str(disk), "2") == f"{UUID}\n"
    assert run(script, str(disk), "1") == f"{uuid.UUID(int=0)}\n"


def test_no_gpt(run: Run, tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", {})
    assert run('gpt_partuuid "$1" 1 || echo none', str(disk)) == "none\n"


@pytest.mark.parametrize(("number", "digits"), [(1, "01"), (10, "0a"), (31, "1f")])
def test_mbr(run: Run, tmp_path: Path, number: int, digits: str) -> None:
    disk = image(tmp_path / "disk", {440: struct.pack("<I", 0x9ABCDEF1)})
    assert run('mbr_partuuid "$1" "$2"; echo "$partuuid"', str(disk), str(number)) == f"9abcdef1-{digits}\n"


def test_waiting_is_bounded(run: Run) -> None:
    script = 'load_drivers() { :; }; find_device /dev/nonexistent 1 || echo "gave up"'
    assert run(script) == "gave up\n"


@pytest.mark.parametrize("name", ["sda1", "", "/dev/null", "FOO=bar", "/dev/../dev/null"])
def test_what_is_no_block_device(run: Run, name: str) -> None:
    assert run('look_up "$1" || echo no', name) == "no\n"
