# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variant of every board against Buildroot's own Kconfig: not one symbol may be lost.

Takes Buildroot from BR2_BUILDROOT_DIR or from the submodule.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_config as config
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_report as report
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_sources as sources
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._kconfig import read_values
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._external_tree import load_board, render

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("BR2_BUILDROOT_DIR") or ROOT / "buildroot")
EVERY_BOARD = sorted(path.stem for path in (ROOT / "files/boards").glob("*.yml"))
BOARDS = [name for name in EVERY_BOARD if "buildroot" in load_board(name, [])]
IMAGE: dict[str, Any] = {
    "init": "busybox",
    "systemd_var": "factory",
    "rootfs": "ext2",
    "hostname": "till-7",
    "packages": [],
    "patch_dirs": [],
    "rootfs_overlays": [],
    "root_login": "keys",
    "root_password_hash": "",
    "authorized_keys": [],
    "embedded_initramfs": True,
}

pytestmark = pytest.mark.skipif(
    not (SOURCE / "Config.in").is_file(),
    reason=f"NO BUILDROOT at {SOURCE}: nothing of upstream is tested. "
    "git submodule update --init, or set BR2_BUILDROOT_DIR.",
)


def configure(root: Path, board: str, symbols: dict[str, str] | None = None, **image: Any) -> dict[str, str]:
    external = root / "external"
    for name, node in render(load_board(board, []), {**IMAGE, **image}).items():
        path = external / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if node.link:
            path.symlink_to(node.link)
        else:
            path.write_bytes(node.content)
    tree = Tree(SOURCE, root / "output", (external,))
    text = config.merge(external / f"configs/{board}_defconfig", [], symbols or {})
    return config.apply(tree, text, check_mode=True).after


@pytest.mark.parametrize(
    ("board", "init", "rootfs"),
    list(itertools.product(BOARDS, ["busybox", "systemd"], ["ext2", "ext4", "squashfs", "erofs"])),
)
def test_variants(tmp_path: Path, board: str, init: str, rootfs: str) -> None:
    values = configure(tmp_path, board, init=init, rootfs=rootfs)
    assert values[f"BR2_INIT_{init.upper()}"] == "y"
    assert values["BR2_TARGET_ROOTFS_INITRAMFS"] == "y"


@pytest.mark.parametrize("var", ["factory", "overlay", "none"])
def test_what_systemd_does_with_var(tmp_path: Path, var: str) -> None:
    values = configure(tmp_path, "qemu_x86_64", init="systemd", systemd_var=var)
    assert values[f"BR2_INIT_SYSTEMD_VAR_{var.upper().replace('OVERLAY', 'OVERLAYFS')}"] == "y"


@pytest.mark.parametrize("libc", ["GLIBC", "MUSL", "UCLIBC"])
def test_c_libraries(tmp_path: Path, libc: str) -> None:
    values = configure(tmp_path, "qemu_x86_64", {f"BR2_TOOLCHAIN_BUILDROOT_{libc}": "y"})
    assert values[f"BR2_TOOLCHAIN_BUILDROOT_{libc}"] == "y"


def test_root_without_a_password_hash_has_no_password(tmp_path: Path) -> None:
    assert configure(tmp_path / "none", "qemu_x86_64")["BR2_TARGET_ENABLE_ROOT_LOGIN"] == "n"
    given = configure(tmp_path / "hash", "qemu_x86_64", root_password_hash="$6$salt$hash")
    assert given["BR2_TARGET_GENERIC_ROOT_PASSWD"] == '"$$6$$salt$$hash"'


def test_systemd_with_musl_names_the_dependency(tmp_path: Path) -> None:
    with pytest.raises(config.DroppedError, match=r"BR2_INIT_SYSTEMD: wanted y.*BR2_TOOLCHAIN_USES_GLIBC"):
        configure(tmp_path, "qemu_x86_64", {"BR2_TOOLCHAIN_BUILDROOT_MUSL": "y"}, init="systemd")


def test_an_upstream_trap_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildrootError, match="BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW"):
        configure(
            tmp_path,
            "qemu_x86_64",
            {"BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW": "y"},
            init="systemd",
            systemd_var="overlay",
        )


@pytest.mark.parametrize("board", BOARDS)
def test_hashes_of_the_kernel_are_there(board: str) -> None:
    """Every download is checked: a kernel without a hash would fail after hours."""
    buildroot = yaml.safe_load((ROOT / f"files/boards/{board}.yml").read_text())["buildroot"]
    kernel = buildroot.get("kernel_tarball", f"/linux-{buildroot.get('kernel_version')}.tar.xz").rpartition(
        "/"
    )[2]
    for package in ("linux", "linux-headers"):
        hashes = (SOURCE / buildroot["patches"] / package / f"{package}.hash").read_text()
        assert kernel in hashes.split()


def test_the_raspberry_pi_is_buildroots_own_but_for_the_toolchain(tmp_path: Path) -> None:
    """Every line of Buildroot's defconfig that this collection does not answer otherwise on purpose."""
    values = configure(tmp_path, "raspberrypi4_64", rootfs="ext4")
    wanted = read_values((SOURCE / "configs/raspberrypi4_64_defconfig").read_text())
    otherwise = re.compile(r"BR2_(TOOLCHAIN_|ROOTFS_POST_|TARGET_ROOTFS_EXT2_SIZE$)|BR2_ARM_FPU_")
    assert {
        name: value for name, value in wanted.items() if not otherwise.match(name)
    }.items() <= values.items()
    assert values["BR2_PACKAGE_RPI_FIRMWARE_CMDLINE_FILE"].endswith('/board/raspberrypi4_64/cmdline.txt"')


def test_host_dracut_is_linked_with_its_own_library_path(tmp_path: Path) -> None:
    configure(tmp_path, "qemu_x86_64")
    tree = Tree(SOURCE, tmp_path / "output", (tmp_path / "external",))
    config.apply(
        tree, config.merge(tmp_path / "external/configs/qemu_x86_64_defconfig", [], {}), check_mode=False
    )
    told = tree.run(["--silent", "printvars"], {"VARS": "HOST_DRACUT_MAKE_ENV"})
    assert re.search(r'LDFLAGS="[^"]*-Wl,-rpath,', told)


def test_neither_the_time_nor_the_place_of_a_build_gets_into_it(tmp_path: Path) -> None:
    configure(tmp_path, "qemu_x86_64")
    tree = Tree(SOURCE, tmp_path / "output", (tmp_path / "external",))
    text = config.merge(tmp_path / "external/configs/qemu_x86_64_defconfig", [], {})
    config.apply(tree, text, check_mode=False)
    hooks = {"VARS": "ROOTFS_CPIO_PRE_GEN_HOOKS ATTR_POST_CONFIGURE_HOOKS READONLY_ROOTFS_DRACUT_TIME"}
    told = tree.run(["--silent", "printvars"], hooks)
    assert "ATTR_POST_CONFIGURE_HOOKS=READONLY_ROOTFS_ATTR_WITHOUT_RPATH" in told
    assert re.search(r"^ROOTFS_CPIO_PRE_GEN_HOOKS=.*\bREADONLY_ROOTFS_DRACUT_TIME\b", told, re.MULTILINE)
    assert re.search(r"touch -d @\d+ \S+/dracut-functions\.sh", told)


def test_what_an_archive_of_sources_must_hold(tmp_path: Path) -> None:
    """What legal-info wants of a ready-made compiler, too, and nothing of a package from a directory."""
    symbols = {"BR2_PACKAGE_HOST_GO": "y", "BR2_PACKAGE_HOST_GO_BIN": "y"}
    configure(tmp_path, "qemu_x86_64", symbols)
    tree = Tree(SOURCE, tmp_path / "output", (tmp_path / "external",))
    text = config.merge(tmp_path / "external/configs/qemu_x86_64_defconfig", [], symbols)
    config.apply(tree, text, check_mode=False)
    (tree.output / "local.mk").write_text("DROPBEAR_OVERRIDE_SRCDIR = /src/dropbear\n")
    names = sources.needed(tree)
    assert [re.sub(r"go[\d.]+\d", "goN", name) for name in names if name.startswith("go/")] == [
        "go/goN.linux-amd64.tar.gz",
        "go/goN.src.tar.gz",
    ]
    assert any(name.startswith("busybox/busybox-") for name in names)
    assert not any(name.startswith("dropbear/") for name in names)


def test_the_sbom_of_buildroots_own_generator(tmp_path: Path) -> None:
    configure(tmp_path, "qemu_x86_64")
    tree = Tree(SOURCE, tmp_path / "output", (tmp_path / "external",))
    text = config.merge(tmp_path / "external/configs/qemu_x86_64_defconfig", [], {})
    config.apply(tree, text, check_mode=False)
    document = json.loads(report.sbom(tree, tmp_path / "dl", "qemu_x86_64", "1"))
    assert document["bomFormat"] == "CycloneDX"
    components = {component["name"]: component for component in document["components"]}
    assert components["busybox"]["licenses"]
    assert "cpe" in components["dropbear"]


def test_the_pins_are_one() -> None:
    """The submodule, the role's defaults and Buildroot's own version say the same."""
    defaults = yaml.safe_load((ROOT / "roles/buildroot/defaults/main.yml").read_text())
    makefile = (SOURCE / "Makefile").read_text()
    assert f"export BR2_VERSION := {defaults['buildroot_version']}\n" in makefile
    if (SOURCE / ".git").exists():
        command = ["git", "-c", f"safe.directory={SOURCE}", "-C", str(SOURCE), "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert head == defaults["buildroot_commit"]
