# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_config as config
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import (
    BuildrootError,
    Tree,
    environment,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._kconfig import holds, read_values
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._run_as import run_as

FIXTURE = Path(__file__).parents[1] / "buildroot" / "fixture"
DEFCONFIG = (FIXTURE / "configs" / "plain_defconfig").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(FIXTURE, tmp_path / "output")


def reasons(tree: Tree, extra: str) -> dict[str, tuple[str, str, str]]:
    with pytest.raises(config.DroppedError) as caught:
        config.apply(tree, DEFCONFIG + extra, check_mode=False)
    dropped = caught.value.details["dropped"]
    return {found["name"]: (found["wanted"], found["got"], found["reason"]) for found in dropped}


def test_an_unmet_dependency_is_named_and_nothing_is_written(tree: Tree) -> None:
    found = reasons(tree, "BR2_INIT_SYSTEMD=y\nBR2_INIT_SYSTEMD_VAR_OVERLAYFS=y\n")
    assert found == {
        "BR2_INIT_SYSTEMD_VAR_OVERLAYFS": (
            "y",
            "absent",
            "unmet dependency: !BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW",
        )
    }
    assert not (tree.output / ".config").exists()


def test_the_dependency_met_is_taken(tree: Tree) -> None:
    extra = (
        "BR2_INIT_SYSTEMD=y\nBR2_INIT_SYSTEMD_VAR_OVERLAYFS=y\n"
        "# BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW is not set\n"
    )
    assert config.apply(tree, DEFCONFIG + extra, check_mode=False).changed
    assert read_values((tree.output / ".config").read_text())["BR2_INIT_SYSTEMD_VAR_OVERLAYFS"] == "y"


def test_dependencies_of_enclosing_if_and_menu(tree: Tree) -> None:
    text = "BR2_x86_64=y\nBR2_TARGET_ROOTFS_EXT2=y\n"
    with pytest.raises(config.DroppedError, match="unmet dependency: BR2_LINUX_KERNEL"):
        config.apply(tree, text, check_mode=False)


def test_a_symbol_that_another_selects_cannot_be_off(tree: Tree) -> None:
    found = reasons(tree, "# BR2_PACKAGE_ZLIB is not set\n")
    assert found == {"BR2_PACKAGE_ZLIB": ("n", "y", "selected by BR2_PACKAGE_DROPBEAR")}


def test_an_unknown_symbol(tree: Tree) -> None:
    found = reasons(tree, "BR2_PACKAGE_NOT_A_SYMBOL=y\n")
    assert found["BR2_PACKAGE_NOT_A_SYMBOL"][2].startswith("no such symbol")


def test_check_mode_writes_nothing(tree: Tree) -> None:
    assert config.apply(tree, DEFCONFIG, check_mode=True).changed
    assert not tree.output.exists()


def test_the_diff_holds_what_changed(tree: Tree) -> None:
    config.apply(tree, DEFCONFIG, check_mode=False)
    outcome = config.apply(tree, DEFCONFIG + "BR2_PACKAGE_SLOW=y\n", check_mode=True)
    assert outcome.lines() == ("BR2_PACKAGE_SLOW=n\n", "BR2_PACKAGE_SLOW=y\n")


def test_the_same_again_is_known_without_kconfig(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    config.apply(tree, "BR2_x86_64=y\n", check_mode=False)
    with monkeypatch.context() as patch:
        patch.setattr(config, "_generate", lambda *_args: pytest.fail("Kconfig was asked"))
        assert not config.apply(tree, "BR2_x86_64=y\n", check_mode=False).changed
    # What somebody changed by hand is put back.
    path = tree.output / ".config"
    path.write_text(path.read_text().replace("BR2_x86_64=y", "# BR2_x86_64 is not set"))
    assert config.apply(tree, "BR2_x86_64=y\n", check_mode=False).changed
    assert "BR2_x86_64=y" in path.read_text()


def test_fragments_and_symbols_override_in_this_order(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("A=1\nB=1\nC=1")
    (tmp_path / "two").write_text("B=2\nC=2\n")
    text = config.merge(tmp_path / "one", [tmp_path / "two"], {"C": "3"})
    assert read_values(text) == {"A": "1", "B": "2", "C": "3"}


def test_a_defconfig_is_found_by_name_in_the_last_external_tree_that_has_it(tmp_path: Path) -> None:
    trees = []
    for name in ("one", "two", "three"):
        (tmp_path / name / "configs").mkdir(parents=True)
        trees.append(tmp_path / name)
    for name in ("one", "two"):
        (tmp_path / name / "configs" / "plain_defconfig").touch()
    tree = Tree(FIXTURE, tmp_path / "output", tuple(trees))
    assert config.find_defconfig(tree, "plain_defconfig") == tmp_path / "two" / "configs" / "plain_defconfig"
    with pytest.raises(BuildrootError, match="no defconfig other_defconfig: looked at"):
        config.find_defconfig(tree, "other_defconfig")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("A", True),
        ("!A", False),
        ("B || A && !B", True),
        ("(A || B) && B", False),
        ('S = "text"', True),
        ('S != ""', True),
        ("MISSING", False),
        ("MISSING = n", True),
        ("A # said BR2", True),
    ],
)
def test_expressions(expression: str, expected: bool) -> None:
    assert holds(expression, {"A": "y", "B": "n", "S": '"text"'}) is expected


def test_the_environment_of_a_build_is_clean() -> None:
    dirty = {
        "PATH": "/opt/a b/bin::.:relative:/usr/bin:/root/.pyenv/shims:/usr/bin:/bin",
        "LD_LIBRARY_PATH": "/opt",
        "CFLAGS": "-Os",
        "MAKEFLAGS": "-j",
        "https_proxy": "http://proxy",
        "HOME": "/home/builder",
        "LC_ALL": "de_DE.UTF-8",
    }
    assert environment(dirty, {"FORCE": "1"}) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "https_proxy": "http://proxy",
        "HOME": "/home/builder",
        "LC_ALL": "C",
        "FORCE": "1",
    }


@pytest.mark.parametrize("name", ["out put", "out@put", "out:put"])
def test_paths_that_buildroot_mistakes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildrootError, match="cannot work in a path"):
        Tree(FIXTURE, tmp_path / name).check()


def test_root_must_name_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for user, message in {
        "": "name an unprivileged",
        "root": "is root",
        "nosuchuser": "no user nosuch",
    }.items():
        with pytest.raises(BuildrootError, match=message):
            run_as(user, dict)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_lets_another_user_do_the_work() -> None:
    assert run_as("nobody", lambda: {"uid": os.getuid()}) == {"uid": pwd.getpwnam("nobody").pw_uid}
    assert os.geteuid() == 0
    with pytest.raises(BuildrootError, match="Permission denied"):
        run_as("nobody", lambda: {"text": Path("/etc/shadow").read_text()})
    with (
        tempfile.TemporaryDirectory() as closed,
        pytest.raises(BuildrootError, match=f"cannot enter {closed},"),
    ):
        run_as("nobody", lambda: {"text": Path(closed, "file").read_text()})


def test_other_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildrootError, match="is no Buildroot tree"):
        Tree(tmp_path, tmp_path).check()
    with pytest.raises(BuildrootError, match="is no external tree"):
        Tree(FIXTURE, tmp_path / "output", (tmp_path,)).check()
