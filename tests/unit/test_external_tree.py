# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._tree_sync import (
    Node,
    TreeError,
    synchronise,
)
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import (
    BOARDS,
    SOURCE,
    load_board,
    render,
)

IMAGE: dict[str, t.Any] = {
    "init": "busybox",
    "overlay_dirs": [],
    "systemd_var": "none",
    "rootfs": "ext2",
    "hostname": "gate",
    "packages": [],
    "rootfs_overlays": [],
    "root_login": "keys",
    "root_password_hash": "",
    "authorized_keys": [],
    "embedded_initramfs": True,
}
EVERY_BOARD = sorted(path.stem for path in BOARDS.glob("*.yml"))


def rendered(board: str, **image: t.Any) -> dict[str, str]:
    tree = render(load_board(board, []), {**IMAGE, **image})
    return {name: node.content.decode() for name, node in tree.items()}


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_every_board_renders_a_whole_tree(board: str) -> None:
    tree = rendered(board)
    assert {"external.desc", "Config.in", "external.mk"} <= set(tree)
    assert (f"configs/{board}_defconfig" in tree) == ("buildroot" in load_board(board, []))
    assert {name.split("/")[1] for name in tree if name.startswith("board/")} <= {"common", board}
    assert not [name for name, text in tree.items() if name.endswith(".j2") or "{{" in text or "{%" in text]
    assert re.search(r"^name: READONLY_ROOTFS$", tree["external.desc"], re.MULTILINE)


@pytest.mark.parametrize("board", [name for name in EVERY_BOARD if "buildroot" in load_board(name, [])])
@pytest.mark.parametrize("name", ["", "gate"])
def test_every_file_that_the_defconfig_names_is_there(board: str, name: str, tmp_path: Path) -> None:
    """Of a board, and of another one whose file is a copy."""
    shutil.copy(BOARDS / f"{board}.yml", tmp_path / f"{name or board}.yml")
    found = render(load_board(name or board, [tmp_path]), {**IMAGE, "authorized_keys": ["ssh-ed25519 A a"]})
    tree = {path: node.content.decode() for path, node in found.items()}
    named = re.findall(
        r"\$\(BR2_EXTERNAL_READONLY_ROOTFS_PATH\)/([^\s\"]+)", tree[f"configs/{name or board}_defconfig"]
    )
    assert named
    missing = [path for path in named if path not in tree and not any(n.startswith(f"{path}/") for n in tree)]
    assert not missing


def test_no_link_leaves_the_collection() -> None:
    root = SOURCE.parents[1].resolve()
    links = [path for path in SOURCE.rglob("*") if path.is_symlink()]
    assert all(path.resolve().is_relative_to(root) and path.exists() for path in links)


def test_a_file_of_a_link_becomes_the_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime.link").write_text("# a comment\n/usr/share/zoneinfo/UTC\n")
    tree = render(load_board("qemu_x86_64", []), IMAGE, tmp_path)
    assert tree == {"etc/localtime": Node(link="/usr/share/zoneinfo/UTC")}


def test_identifiers_are_the_boards_own_and_stable() -> None:
    first, second = rendered("qemu_x86_64"), rendered("qemu_x86_64")
    assert first == second
    uuids = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["board/common/genimage.cfg"])
    assert len(set(uuids)) >= 4


def test_root_has_no_password_unless_asked_for() -> None:
    defconfig = "configs/qemu_x86_64_defconfig"
    assert "# BR2_TARGET_ENABLE_ROOT_LOGIN is not set" in rendered("qemu_x86_64")[defconfig]
    asked = rendered("qemu_x86_64", root_login="passwordless")[defconfig]
    assert 'BR2_TARGET_GENERIC_ROOT_PASSWD=""' in asked


def test_the_ssh_server_of_every_builder_admits_whom_the_image_names() -> None:
    def arguments(**image: t.Any) -> str:
        return rendered("qemu_x86_64", **image)["rootfs-overlay/etc/default/dropbear"]

    assert 'DROPBEAR_ARGS="-s"' in arguments()
    assert 'DROPBEAR_ARGS="-B"' in arguments(root_login="passwordless")
    assert 'DROPBEAR_ARGS=""' in arguments(**{"root_password_hash": "$6$a$b"})


def test_keys_make_a_file_and_no_keys_make_none() -> None:
    path = "rootfs-overlay/root/.ssh/authorized_keys"
    assert path not in rendered("qemu_x86_64")
    assert rendered("qemu_x86_64", authorized_keys=["ssh-ed25519 A a", "B"])[path] == "ssh-ed25519 A a\nB\n"


def test_an_unknown_board_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("description: mine\n")
    with pytest.raises(TreeError, match=r"no board 'nil'.*mine.*qemu_x86_64"):
        load_board("nil", [tmp_path])


def test_an_incomplete_board_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("{description: m, architecture: x, console: c, kernel: {}, disk: {}}")
    with pytest.raises(TreeError, match=r"mine\.yml lacks image, cmdline in its section 'kernel'"):
        load_board("mine", [tmp_path])


def test_an_undefined_variable_names_the_template(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{{ board.colour }}")
    with pytest.raises(TreeError, match=r"a\.j2 cannot be rendered for board 'qemu_x86_64'.*'colour'"):
        render(load_board("qemu_x86_64", []), IMAGE, tmp_path)


def test_an_incomplete_image_is_told_all_that_it_lacks() -> None:
    with pytest.raises(TreeError, match=r"`image` lacks hostname, rootfs\. Role image sets"):
        render(
            load_board("qemu_x86_64", []),
            {name: value for name, value in IMAGE.items() if name not in ("hostname", "rootfs")},
        )


@pytest.mark.parametrize("board", EVERY_BOARD)
def test_the_scripts_are_sound_shell(board: str, tmp_path: Path) -> None:
    synchronise(tmp_path, render(load_board(board, []), IMAGE))
    ours = (path for part in ("board", "debian") for path in (tmp_path / part).rglob("*") if path.is_file())
    scripts = [str(path) for path in ours if path.read_bytes().startswith(b"#!/bin/sh")]
    assert len(scripts) > 5
    assert all(os.access(path, os.X_OK) for path in scripts)
    shellcheck = shutil.which("shellcheck")
    assert shellcheck, "shellcheck is missing; `make` puts it into .venv"
    checked = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_each_base_of_buildroot_has_a_uuid_of_its_own(tmp_path: Path) -> None:
    """Buildroot makes each file system with the same one: see test_filesystem_image.py."""
    identity = tmp_path / "target/usr/lib/readonly-rootfs/base-id"
    identity.parent.mkdir(parents=True)
    identity.write_text("0123456789abcdef0123456789abcdef" + "0" * 32 + "\n")
    (tmp_path / "genimage").write_text("#!/bin/sh\nfor out; do :; done; touch $out/sdcard.img\n")
    (tmp_path / "genimage").chmod(0o755)
    images = tmp_path / "images"
    images.mkdir()
    path = f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "SOURCE_DATE_EPOCH": "1", "TARGET_DIR": str(tmp_path / "target")}
    subprocess.run(["mke2fs", "-q", images / "rootfs.ext2", "1M"], env=environment, check=True)
    (images / "rootfs.ext4").symlink_to("rootfs.ext2")
    subprocess.run([SOURCE / "board/common/post-image.sh", images], env=environment, check=True)
    about = subprocess.check_output(["dumpe2fs", "-h", images / "rootfs.ext2"], env=environment, text=True)
    assert re.search(r"^Filesystem UUID: +01234567-89ab-cdef-0123-456789abcdef$", about, re.MULTILINE)
    assert (images / "sdcard.img").exists()


def test_a_failing_genimage_fails_the_post_image_script(tmp_path: Path) -> None:
    """Without `set -e` Buildroot would end well, without an sdcard.img."""
    programs, images = tmp_path / "bin", tmp_path / "images"
    programs.mkdir()
    images.mkdir()
    genimage = programs / "genimage"
    genimage.write_text("#!/bin/sh\nexit 1\n")
    genimage.chmod(0o755)
    script = SOURCE / "board/common/post-image.sh"
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1"}
    assert subprocess.run([script, images], env=environment, check=False).returncode != 0
    assert not list(images.iterdir())


def test_the_base_identity_follows_every_kind_of_change(tmp_path: Path) -> None:
    tree = render(load_board("qemu_x86_64", []), IMAGE)
    synchronise(tmp_path / "external", tree)
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/a b\n").write_text("1")
    (root / "etc/l").symlink_to("a")

    def identity() -> str:
        subprocess.run([tmp_path / "external/board/common/post-build.sh", root], check=True)
        return (root / "usr/lib/readonly-rootfs/base-id").read_text()

    first = identity()
    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert identity() == first
    os.utime(root / "etc/a b\n", (1, 1))
    assert identity() == first
    seen = {first}
    (root / "etc/a b\n").write_text("2")
    seen.add(identity())
    (root / "etc/a b\n").chmod(0o600)
    seen.add(identity())
    (root / "etc/empty").mkdir()
    seen.add(identity())
    (root / "etc/l").unlink()
    (root / "etc/l").symlink_to("b")
    seen.add(identity())
    assert len(seen) == 5
