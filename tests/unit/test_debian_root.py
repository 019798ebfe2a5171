# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._build import BuildError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._debian_image import (
    Options,
    build,
    tools_for,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._debian_root import (
    build_root,
    install_modules,
)
from ansible_collections.br2.readonly_rootfs.tests.support.packages import BUILT, make_deb

ROLE = Path(__file__).parents[2] / "roles/build_host"
# The end of BusyBox's list of applets is an empty name.
BUSYBOX = "ELF\0...\0[\0[[\0ash\0init\0ls\0sh\0\0more\0"


@pytest.fixture
def external(tmp_path: Path) -> Path:
    directory = tmp_path / "external"
    (directory / "debian/skeleton/etc").mkdir(parents=True)
    for init in ("busybox", "systemd"):
        (directory / f"debian/init-{init}/etc").mkdir(parents=True)
        (directory / f"debian/init-{init}/etc/passwd").write_text(init)
    (directory / "debian/sbin-applets").write_text("# a comment\ninit\n")
    (directory / "debian/skeleton/etc/shadow").write_text("root:*:::::::\n")
    (directory / "rootfs-overlay/sbin").mkdir(parents=True)
    (directory / "rootfs-overlay/sbin/ours").write_text("ours")
    return directory


def test_the_base_is_packages_applets_skeleton_and_overlays(tmp_path: Path, external: Path) -> None:
    packages = [
        make_deb(tmp_path, "busybox", files={"bin/busybox": BUSYBOX, "usr/share/doc/busybox/x": "long"}),
        make_deb(tmp_path, "dropbear", files={"usr/sbin/dropbear": "d", "bin/ls": "its own"}),
    ]
    mine = tmp_path / "mine"
    (mine / "etc").mkdir(parents=True)
    (mine / "etc/issue").write_text("mine")
    tree = tmp_path / "tree"
    assert build_root(tree, packages, external, "busybox", [str(mine)]) == BUILT
    assert (tree / "bin").readlink() == Path("usr/bin")
    assert not (tree / "lib64").is_symlink()
    assert (tree / "usr/sbin/init").readlink() == Path("/usr/bin/busybox")
    assert (tree / "usr/bin/sh").readlink() == Path("/usr/bin/busybox")
    assert (tree / "usr/bin/[[").is_symlink()
    assert (tree / "usr/bin/ls").read_text() == "its own"
    assert not (tree / "usr/bin/more").is_symlink()
    assert not (tree / "usr/share/doc").exists()
    # /sbin stayed the link that it was.
    assert (tree / "usr/sbin/ours").read_text() == "ours"
    assert (tree / "etc/issue").read_text() == "mine"
    assert (tree / "etc/shadow").stat().st_mode & 0o777 == 0o600
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize("init", ["busybox", "systemd"])
def test_the_base_is_made_for_its_init(tmp_path: Path, external: Path, init: str) -> None:
    tree = tmp_path / "tree"
    build_root(tree, [], external, init, [])
    assert (tree / "etc/passwd").read_text() == init


def test_a_packages_absolute_link_wins_over_busybox(tmp_path: Path, external: Path) -> None:
    """As that of systemd-sysv: on the build host it may lead nowhere."""
    links = {"sbin/init": "-> /lib/systemd/no-such-init"}
    packages = [make_deb(tmp_path, "busybox", files={"bin/busybox": BUSYBOX})]
    packages.append(make_deb(tmp_path, "systemd-sysv", files=links))
    build_root(tmp_path / "tree", packages, external, "systemd", [])
    assert (tmp_path / "tree/usr/sbin/init").readlink() == Path("/lib/systemd/no-such-init")


def test_a_link_takes_the_place_of_an_empty_directory(tmp_path: Path, external: Path) -> None:
    (tmp_path / "below/srv/data").mkdir(parents=True)
    (tmp_path / "above/srv").mkdir(parents=True)
    (tmp_path / "above/srv/data").symlink_to("/run/data")
    overlays = [str(tmp_path / "below"), str(tmp_path / "above")]
    build_root(tmp_path / "tree", [], external, "busybox", overlays)
    assert (tmp_path / "tree/srv/data").readlink() == Path("/run/data")


def test_links_lead_where_they_would_on_the_device(tmp_path: Path, external: Path) -> None:
    """And never to files of the build host."""
    host = tmp_path / "host"
    (host / "ssh").mkdir(parents=True)
    (host / "ssh").chmod(0o755)
    (host / "mine").write_text("the host's")
    below, above = tmp_path / "below", tmp_path / "above"
    for layer in (below, above):
        (layer / "root").mkdir(parents=True)
    (below / "data").symlink_to(host)
    (below / "up").symlink_to(Path("../" * 40 + str(host)))
    (below / "root/.ssh").symlink_to(host / "ssh")
    for name in ("data", "up/deep"):
        (above / name).mkdir(parents=True)
        (above / name / "mine").write_text(name)
    tree = tmp_path / "tree"
    build_root(tree, [], external, "busybox", [str(below), str(above)])
    assert (host / "mine").read_text() == "the host's"
    assert sorted(path.name for path in host.iterdir()) == ["mine", "ssh"]
    assert (host / "ssh").stat().st_mode & 0o777 == 0o755
    inside = tree / host.relative_to("/")
    assert (inside / "mine").read_text() == "data"
    assert (inside / "deep/mine").read_text() == "up/deep"


def test_links_in_circles_end_the_build(tmp_path: Path, external: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/round").symlink_to("/round")
    (tmp_path / "above/round").mkdir(parents=True)
    with pytest.raises(BuildError, match=r"/round .* circles"):
        overlays = [str(tmp_path / "below"), str(tmp_path / "above")]
        build_root(tmp_path / "tree", [], external, "busybox", overlays)


def test_an_overlay_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="/no/such"):
        build(Options({}, tmp_path, tmp_path, tmp_path, rootfs_overlays=["/no/such"]))


def test_a_damaged_package_is_named(tmp_path: Path, external: Path) -> None:
    (tmp_path / "bad.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(BuildError, match=r"bad\.deb"):
        build_root(tmp_path / "tree", [tmp_path / "bad.deb"], external, "busybox", [])


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    release = tmp_path / "modules/6.1-x"
    (release / "kernel").mkdir(parents=True)
    for name in ("a-net", "ring", "ext4", "other"):
        (release / f"kernel/{name}.ko").write_bytes(b"")
    (release / "modules.dep").write_text(
        "kernel/a-net.ko: kernel/ring.ko\nkernel/ring.ko:\nkernel/ext4.ko:\nkernel/other.ko:\n"
    )
    (release / "modules.builtin").write_text("kernel/drivers/inside.ko\n")
    (release / "modules.builtin.modinfo").write_bytes(b"")
    (release / "modules.order").write_text("")
    return tmp_path / "modules"


def test_modules_come_with_those_they_need_and_file_systems(tmp_path: Path, modules: Path) -> None:
    install_modules(tmp_path / "tree", modules, "6.1-x", ["a_net", "inside"])
    kernel = tmp_path / "tree/usr/lib/modules/6.1-x/kernel"
    assert sorted(path.name for path in kernel.iterdir()) == ["a-net.ko", "ext4.ko", "ring.ko"]


def test_a_module_that_the_kernel_does_not_have_is_named(tmp_path: Path, modules: Path) -> None:
    with pytest.raises(BuildError, match=r"6\.1-x has no module gone"):
        install_modules(tmp_path / "tree", modules, "6.1-x", ["ext4", "gone"])


def test_the_build_host_gets_the_package_of_every_program() -> None:
    packages = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__build_host_packages"]
    for rootfs in ("ext2", "ext4", "squashfs", "erofs"):
        assert set(tools_for("package", rootfs).values()) <= set(packages["debian"])
        assert set(tools_for("source", rootfs).values()) <= {*packages["debian"], *packages["source"]}
