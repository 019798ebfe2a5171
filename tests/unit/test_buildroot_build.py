# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build from the first to a no-op, against a tree that behaves like Buildroot's command line."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_config as config
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_sources
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_build import Build, FailedError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

FIXTURE = Path(__file__).parents[1] / "buildroot" / "fixture"
DEFCONFIG = (FIXTURE / "configs" / "plain_defconfig").read_text()
EXTERNAL = "$(BR2_EXTERNAL_SITE_PATH)"


class Bench:
    """An output directory with an external tree, a root file system overlay and a dracut module."""

    def __init__(self, root: Path) -> None:
        self.external = root / "external"
        self.write("external.desc", "name: SITE\n")
        self.write("external.mk", "")
        self.write("overlay/etc/motd", "hello\n")
        self.write("dracut/90site/hook.sh", "#!/bin/sh\n")
        self.write("linux.config", "CONFIG_OVERLAY_FS=y\n")
        self.write("linux.fragment", "CONFIG_OVERLAY_FS=y\nCONFIG_TMPFS_XATTR=y\n")
        self.tree = Tree(FIXTURE, root / "output", (self.external,))
        self.text = DEFCONFIG + "BR2_TARGET_ROOTFS_INITRAMFS=y\n"
        self.text += "".join(
            f'{name}="{EXTERNAL}/{path}"\n'
            for name, path in {
                "BR2_ROOTFS_OVERLAY": "overlay",
                "BR2_TARGET_ROOTFS_CPIO_DRACUT_MODULES": "dracut",
                "BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE": "linux.config",
                "BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES": "linux.fragment",
            }.items()
        )
        self.build = Build(self.tree, 2, {}, ["bzImage", "rootfs.cpio", "rootfs.ext2"], "rootfs.cpio")
        self.configure()

    def write(self, name: str, text: str) -> Path:
        path = self.external / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, extra: str = "") -> None:
        config.apply(self.tree, self.text + extra, check_mode=False)

    def fault(self, text: str) -> None:
        (self.tree.output / "fault").write_text(text)

    def start(self) -> dict[str, Any]:
        todo = self.build.prepare(force=False)
        assert todo is not None
        return self.build.start(todo)

    def run(self) -> dict[str, Any]:
        self.start()
        deadline = time.monotonic() + 60
        while self.build.job.running():
            assert time.monotonic() < deadline, "the build does not end"
            time.sleep(0.02)
        return self.build.finish()

    def nothing_to_do(self) -> bool:
        return self.build.prepare(force=False) is None

    def reasons(self) -> list[str]:
        todo = self.build.prepare(force=False)
        assert todo is not None, "nothing is to be done"
        found: list[str] = todo["reasons"]
        return found

    def installed(self, package: str) -> str:
        """Tells one build of a package from another."""
        return (self.tree.output / "per-package" / package / "target" / "etc" / package).read_text()

    def rootfs(self) -> list[str]:
        return (self.tree.output / "images" / "rootfs.ext2").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_first_build_then_nothing(bench: Bench) -> None:
    assert bench.reasons() == ["nothing was built here yet"]
    assert bench.run()["seconds"] > 0
    assert bench.nothing_to_do()
    assert "etc/motd" in bench.rootfs()


def test_a_configuration_given_again_changes_nothing(bench: Bench) -> None:
    outcome = config.apply(bench.tree, bench.text, check_mode=False)
    assert not outcome.changed


def test_a_package_option_builds_that_package_again(bench: Bench) -> None:
    bench.run()
    before = {name: bench.installed(name) for name in ("busybox", "dropbear", "linux")}
    bench.configure("BR2_PACKAGE_BUSYBOX_SHOW_OTHERS=y\n")
    assert bench.reasons() == ["busybox is built again: BR2_PACKAGE_BUSYBOX_SHOW_OTHERS changed"]
    bench.run()
    assert bench.installed("busybox") != before["busybox"]
    assert bench.installed("dropbear") == before["dropbear"]
    assert bench.installed("linux") == before["linux"]
    assert bench.nothing_to_do()


def test_what_depends_on_a_changed_package_is_built_again(bench: Bench) -> None:
    bench.run()
    bench.write("package/zlib/zlib.mk", "# changed\n")
    assert bench.reasons() == [
        "dropbear is built again: it depends on zlib",
        f"zlib is built again: {bench.external}/package/zlib/zlib.mk changed",
    ]


def test_only_the_initramfs_follows_a_changed_dracut_module(bench: Bench) -> None:
    bench.run()
    before = {name: bench.installed(name) for name in ("busybox", "linux", "host-dracut")}
    (bench.external / "dracut/90site/hook.sh").rename(bench.external / "dracut/90site/other.sh")
    assert all(reason.startswith("the images are made again") for reason in bench.reasons())
    bench.run()
    assert {name: bench.installed(name) for name in before} == before
    archive = (bench.tree.output / "images" / "bzImage").read_bytes()
    assert b"other.sh" in archive
    assert b"hook.sh" not in archive


def test_a_kernel_configuration_configures_the_kernel_again(bench: Bench) -> None:
    bench.run()
    before = bench.installed("linux")
    path = bench.write("linux.config", "CONFIG_SQUASHFS=y\n")
    assert bench.reasons() == [f"linux is configured and built again: {path} changed"]
    assert "etc/CONFIG_OVERLAY_FS" in bench.rootfs()
    bench.run()
    assert bench.installed("linux") != before
    assert "etc/CONFIG_SQUASHFS" in bench.rootfs()
    assert "etc/CONFIG_OVERLAY_FS" not in bench.rootfs(), "what the kernel installed before is still there"


def test_a_file_that_is_named_and_missing_is_told_before_the_build(bench: Bench) -> None:
    (bench.external / "linux.config").unlink()
    with pytest.raises(BuildrootError, match=r"BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE names .*linux\.config"):
        bench.start()


def test_what_is_taken_out_leaves_the_image(bench: Bench) -> None:
    bench.run()
    (bench.external / "overlay/etc/motd").unlink()
    bench.text = bench.text.replace("BR2_PACKAGE_DROPBEAR=y\n", "")
    bench.configure()
    bench.run()
    assert "etc/motd" not in bench.rootfs()
    assert "etc/dropbear" not in bench.rootfs()
    assert "etc/busybox" in bench.rootfs()


@pytest.mark.parametrize("extra", ["BR2_aarch64=y\n# BR2_x86_64 is not set\n", "BR2_REPRODUCIBLE=y\n"])
def test_what_is_in_every_binary_cleans(bench: Bench, extra: str) -> None:
    bench.run()
    before = bench.installed("linux")
    bench.text = bench.text.replace("BR2_x86_64=y\n", "") if "aarch64" in extra else bench.text
    bench.configure(extra)
    assert bench.reasons()[0].startswith("everything is built again: BR2_")
    bench.run()
    assert bench.installed("linux") != before


def test_where_sources_come_from_does_not_matter(bench: Bench) -> None:
    bench.run()
    before = bench.installed("linux")
    bench.configure('BR2_PRIMARY_SITE="http://mirror.example"\n')
    bench.run()
    assert bench.installed("linux") == before


@pytest.fixture
def offline(bench: Bench, tmp_path: Path) -> Path:
    """The download directory of a host without a network."""
    directory = tmp_path / "dl"
    bench.configure(
        f'BR2_DL_DIR="{directory}"\nBR2_PRIMARY_SITE="file://{directory}"\nBR2_PRIMARY_SITE_ONLY=y\n'
    )
    packages = _buildroot_sources.by_package(bench.tree)
    _buildroot_sources.download(bench.tree, packages, directory)
    for stamp in bench.tree.output.glob("build/*/.stamp_downloaded"):
        stamp.unlink()
    return directory


def test_offline_every_missing_source_is_told_before_the_build(bench: Bench, offline: Path) -> None:
    (offline / "zlib/zlib.tar.xz").unlink()
    (offline / "linux/linux.tar.xz").unlink()
    with pytest.raises(BuildrootError, match=r"dl lacks linux/linux\.tar\.xz, zlib/zlib\.tar\.xz\. Pack "):
        bench.start()
    assert not bench.build.job.log.exists()


def test_offline_a_source_is_asked_for_only_if_it_is_built_from(bench: Bench, offline: Path) -> None:
    bench.run()
    (offline / "zlib/zlib.tar.xz").unlink()
    bench.write("overlay/etc/motd", "changed\n")
    assert bench.run()["reasons"]
    (bench.tree.output / "build/zlib-1.3.2/.stamp_downloaded").unlink()
    bench.write("overlay/etc/motd", "changed again\n")
    with pytest.raises(BuildrootError, match=r"dl lacks zlib/zlib\.tar\.xz\."):
        bench.start()


def test_offline_with_a_mirror_all_sources_come_first(bench: Bench) -> None:
    bench.configure('BR2_PRIMARY_SITE="http://mirror.example"\nBR2_PRIMARY_SITE_ONLY=y\n')
    bench.fault("download linux")
    with pytest.raises(FailedError, match=r"linux-6\.18\.7 failed to be downloaded"):
        bench.run()
    assert not list(bench.tree.output.glob("build/*/.stamp_installed"))


def test_a_touched_or_missing_artefact_is_made_again(bench: Bench) -> None:
    bench.run()
    (bench.tree.output / "images" / "bzImage").unlink()
    assert bench.reasons() == ["bzImage changed or missing"]


def test_a_failed_build_goes_on_where_it_stopped(bench: Bench) -> None:
    bench.run()
    bench.configure("BR2_REPRODUCIBLE=y\n")
    bench.fault("compile dropbear")
    with pytest.raises(FailedError, match=r"dropbear-2026\.91 failed to be built") as caught:
        bench.run()
    assert caught.value.details["package"] == "dropbear-2026.91"
    assert len(caught.value.details["tail"]) == 40
    assert "dropbear.c:7: error" in "\n".join(caught.value.details["tail"])
    built = bench.installed("busybox")
    bench.fault("")
    assert bench.reasons() == ["the last build did not come to its end"]
    bench.run()
    assert bench.installed("busybox") == built, "the clean build was begun anew"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "download zlib",
            r"zlib-1\.3\.2 failed.*could not be downloaded(.|\n)*https://example\.invalid/zlib",
        ),
        ("hash zlib", "is not the one that Buildroot expects"),
        ("disk zlib", "the disk is full.*MiB free"),
        ("dracut", "the initramfs lacks files: dracut-install: ERROR"),
        ("no-init", "would panic the kernel: /init is missing"),
        ("no-image", "rootfs.ext2 is missing"),
        ("no-cpio", "rootfs.cpio is missing"),
        ("kconfig", "Kconfig dropped CONFIG_TMPFS_XATTR=y"),
        ("no-initramfs", "CONFIG_INITRAMFS_SOURCE is empty"),
        ("old-initramfs", "was not linked with the new rootfs.cpio"),
    ],
)
def test_faults_are_named(bench: Bench, fault: str, message: str) -> None:
    bench.fault(fault)
    with pytest.raises(BuildrootError, match=message):
        bench.run()
    assert not bench.nothing_to_do()


def test_an_old_image_under_status_0_is_a_failure(bench: Bench) -> None:
    bench.run()
    images = bench.tree.output / "images"
    for path in images.iterdir():
        os.utime(path, (1, 1))
    bench.fault("no-image")
    with pytest.raises(FailedError, match=r"rootfs\.ext2 is an old file"):
        bench.run()


def test_cancel_leaves_no_process_and_the_build_goes_on_later(bench: Bench) -> None:
    bench.fault("hang dropbear")
    bench.start()
    hang = bench.tree.output / "hang"
    deadline = time.monotonic() + 30
    while not (hang.exists() and hang.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert bench.build.job.cancel()
    assert not Path(f"/proc/{hang.read_text().strip()}").exists()
    with pytest.raises(FailedError, match="cancelled"):
        bench.build.finish()
    bench.fault("")
    bench.run()


def test_make_that_is_killed(bench: Bench) -> None:
    bench.fault("hang dropbear")
    bench.start()
    hang = bench.tree.output / "hang"
    deadline = time.monotonic() + 30
    while not hang.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    supervisor = bench.build.job.about()["pid"]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    os.kill(int(children[0]), 9)
    while bench.build.job.running():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(FailedError, match="killed by signal 9"):
        bench.build.finish()


def test_a_later_build_has_an_estimate(bench: Bench) -> None:
    assert bench.start()["estimate"] is None
    while bench.build.job.running():
        time.sleep(0.02)
    bench.build.finish()
    bench.configure("BR2_REPRODUCIBLE=y\n")
    bench.start()
    # The clean has just begun or ended; either way everything or nothing is to do.
    outlook = bench.build.outlook()
    assert outlook["total"] == 8
    bench.build.job.cancel()
