# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._initramfs import read_cpio
from ansible_collections.br2.readonly_rootfs.tests.support.debian import Builder, BuildFailed

FILES = {
    "bzImage",
    "rootfs.cpio",
    "rootfs.ext2",
    "overlay.ext4",
    "sdcard.img",
    "sdcard.img.bmap",
    "start-qemu.sh",
    "manifest.json",
}


def in_image(builder: Builder, *requests: str) -> str:
    """What debugfs says about the root file system."""
    command = ["debugfs", "-f", "-", str(builder.images / "rootfs.ext2")]
    said = subprocess.run(command, input="\n".join(requests), check=True, capture_output=True, text=True)
    return said.stdout


def test_all_files_of_the_contract_and_no_others(built: Builder) -> None:
    assert {path.name for path in built.images.iterdir()} == FILES
    assert {path.name for path in built.output.iterdir()} == {
        "images",
        "external",
        "debian.log",
        ".lock",
        ".images.json",
    }


def test_the_disk_has_the_base_and_the_writable_layer(built: Builder) -> None:
    manifest = json.loads((built.images / "manifest.json").read_text())
    base, layer = manifest["disk"]["partitions"]
    assert (base["number"], base["filesystem"]["type"], base["filesystem"]["label"]) == (1, "ext2", "rootfs")
    assert (layer["number"], layer["filesystem"]["type"], layer["filesystem"]["label"]) == (
        2,
        "ext4",
        "overlay",
    )
    disk = (built.images / "sdcard.img").open("rb")
    with disk:
        for part, name in ((base, "rootfs.ext2"), (layer, "overlay.ext4")):
            disk.seek(part["start"])
            image = (built.images / name).read_bytes()
            assert disk.read(len(image)) == image
    for name in ("rootfs.ext2", "overlay.ext4"):
        subprocess.run(["e2fsck", "-fn", built.images / name], check=True, capture_output=True)


def test_the_base_carries_its_identity(built: Builder) -> None:
    manifest = json.loads((built.images / "manifest.json").read_text())
    assert manifest["base_id"] in in_image(built, "cat /usr/lib/readonly-rootfs/base-id")


def test_the_initramfs_is_the_same_wherever_it_is_made(built: Builder) -> None:
    """Whether dracut could make devices is an accident of the host."""
    entries = read_cpio((built.images / "rootfs.cpio").read_bytes())
    assert {stat.S_IFMT(entry.mode) for entry in entries.values()} == {
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
    }


def test_nobody_logs_in_without_being_asked_in(built: Builder) -> None:
    said = in_image(built, "cat /etc/shadow", "cat /etc/default/dropbear", "cat /root/.ssh/authorized_keys")
    assert "root:*:" in said
    assert "root::" not in said
    assert 'DROPBEAR_ARGS="-s"' in said
    assert "ssh-ed25519 AAAA tests" in said
    assert "Mode:  0600" in in_image(built, "stat /etc/shadow")


def test_two_builds_elsewhere_give_the_same_bytes(built: Builder, tmp_path: Path) -> None:
    time.sleep(1.1)
    other = Builder(tmp_path / "a-rather-longer-name")
    # Neither are the modes of a device's directories the user's.
    other.run(prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    assert other.contents() == built.contents()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory to which others come: every pytest that starts closes those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="not-root-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_without_root_the_same_bytes(built: Builder, public: Path) -> None:
    if os.geteuid():
        pytest.skip("this run is without root already; test_two_builds_elsewhere says it all")
    # What others may read of our cache is all that they need: a copy that is theirs.
    theirs = public / "cache"
    shutil.copytree(built.cache / "apt", theirs / "apt", symlinks=True)
    (other := Builder(public / "out")).output.parent.chmod(0o755)
    subprocess.run(["chown", "-R", "nobody", public], check=True)
    # Python and the checkout may be in root's own directory.
    to_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *to_read]
    other.run(prefix=prefix, env={"HOME": str(public)}, cache=str(theirs))
    assert other.contents() == built.contents()


def test_nothing_changed_means_nothing_done(copy: Builder) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.images.iterdir()}
    assert not copy.run(check=True)["changed"]
    assert not copy.run()["changed"]
    assert before == {path: path.stat().st_mtime_ns for path in copy.images.iterdir()}


def test_check_mode_builds_nothing(tmp_path: Path) -> None:
    fresh = Builder(tmp_path)
    assert fresh.run(check=True)["changed"]
    assert fresh.run(check=True, cache=str(tmp_path / "empty"))["changed"]
    assert not fresh.images.exists()


def test_every_input_counts(copy: Builder, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "hello").write_text("1")
    assert copy.run(rootfs_overlays=[str(overlay)])["changed"]
    assert "1" in in_image(copy, "cat /hello")
    (overlay / "hello").write_text("22")
    assert copy.run(rootfs_overlays=[str(overlay)], check=True)["changed"]
    (overlay / "hello").write_text("1")
    assert not copy.run(rootfs_overlays=[str(overlay)], check=True)["changed"]
    (copy.images / "sdcard.img").write_bytes(b"spoilt")
    assert copy.run(rootfs_overlays=[str(overlay)], check=True)["changed"]


@pytest.mark.parametrize("rootfs", ["ext4", "squashfs", "erofs"])
def test_other_file_systems_replace_the_one_before(copy: Builder, tmp_path: Path, rootfs: str) -> None:
    other = Builder(tmp_path, rootfs=rootfs)
    assert other.output == copy.output
    manifest = other.run(rootfs=rootfs)["manifest"]
    assert {path.name for path in other.images.iterdir()} == FILES - {"rootfs.ext2"} | {f"rootfs.{rootfs}"}
    assert manifest["disk"]["partitions"][0]["filesystem"]["type"] == rootfs


@pytest.mark.parametrize(
    "stage", ["_debian_root.build_root", "_filesystem_image.make_image", "_manifest.move"]
)
def test_a_killed_build_is_put_right_by_the_next(built: Builder, copy: Builder, stage: str) -> None:
    """The build kills itself, hard, at the end of a stage, over images of other inputs."""
    (copy.output / ".images.json").unlink()
    murder = f"""
import os
real = builder.{stage}
def dies(*args, **more):
    real(*args, **more)
    os.kill(0, 9)
builder.{stage} = dies
"""
    *python, script = copy.command()
    command = [*python, script.replace("given = json", f"{murder}given = json")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=copy.environment(), text=True, start_new_session=True
    )
    process.communicate(copy.request())
    assert process.returncode == -signal.SIGKILL
    assert (copy.output / ".build").exists()
    # What stands under a final name is whole, of this build or of the one before.
    assert copy.contents() == built.contents()
    assert copy.run()["changed"]
    assert copy.contents() == built.contents()
    assert not copy.run()["changed"]
    assert not (copy.output / ".build").exists()


def test_a_full_disk_is_said_and_harms_nothing(copy: Builder) -> None:
    """The build's own directory is a tmpfs of a few MiB, in a mount namespace of its own."""
    before = copy.contents()
    mount = f'mount -t tmpfs -o size=30M none "{copy.output}/.build" && exec "$@"'
    (copy.output / ".build").mkdir()
    (copy.output / ".images.json").unlink()
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    with pytest.raises(BuildFailed, match="No space left"):
        copy.run(prefix=prefix)
    assert copy.contents() == before


def test_a_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    fresh = Builder(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "apt-get", "dpkg-deb", "tar", "cpio"):
        (tools / name).symlink_to(shutil.which(name) or name)
    hide = (
        "import ansible_collections.br2.readonly_rootfs.plugins.module_utils._build as b; b._SBIN = '/none'\n"
    )
    *python, script = fresh.command()
    ended = subprocess.run(
        [*python, hide + script],
        input=fresh.request(),
        capture_output=True,
        text=True,
        env=fresh.environment(PATH=str(tools)),
        check=False,
    )
    assert ended.returncode
    assert "Missing on the build host:" in ended.stderr
    assert "genimage" in ended.stderr
    assert "apt-get install" in ended.stderr
    assert not fresh.images.exists()


def test_an_unknown_package_is_said_and_harms_nothing(copy: Builder) -> None:
    before = copy.contents()
    with pytest.raises(BuildFailed, match="no-such-package"):
        copy.run(packages=["no-such-package"])
    assert copy.contents() == before
    assert not copy.run()["changed"]


def test_a_directory_that_dracut_cannot_work_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="white space"):
        Builder(tmp_path / "my images").run()


def test_a_board_of_another_architecture_is_built_and_booted(tmp_path: Path) -> None:
    builder = Builder(tmp_path, "qemu_aarch64")
    assert builder.run(boot_check=True)["manifest"]["board"] == "qemu_aarch64"
    with (builder.images / "Image").open("rb") as kernel:
        assert kernel.read(0x3C)[0x38:] == b"ARM\x64"
    assert "overlay / overlay rw," in (builder.output / "boot-check.log").read_text()
