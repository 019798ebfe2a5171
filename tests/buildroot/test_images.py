# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/build.yml with its default builder, from the board file to the described images.

The fixture stands for Buildroot; root file system, disk image and block map are real.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
TOOLS = ("genimage", "mke2fs", "cpio")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool, path=PATH) is None for tool in TOOLS),
    reason="NO genimage, mke2fs or cpio: make provision",
)


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="br2-images-") as name:
        root = Path(name)
        root.chmod(0o755)
        shutil.copytree(HERE / "fixture", root / "tree")
        yield root


def build(
    site: Path, *options: str, inventory: str = "localhost,", playbook: str = "build", **variables: Any
) -> str:
    # A host's own variables must win where it has any.
    output = {} if "build_hosts" in variables else {"image_output_dir": str(site / "output")}
    given = {
        "ansible_python_interpreter": sys.executable,
        **output,
        "buildroot_dir": str(site / "tree"),
        "buildroot_user": USER,
        # The fixture's kernel is none.
        "image_boot_check": False,
        "buildroot_cache_dir": str(site / "cache"),
        **variables,
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        f"--inventory={inventory}",
        "--connection=local",
        f"--extra-vars={json.dumps(given)}",
        str(ROOT / f"playbooks/{playbook}.yml"),
        *options,
    ]
    environment = {**os.environ, "PATH": PATH, "PWD": str(site), "ANSIBLE_NOCOLOR": "1"}
    environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_a_board_to_images_and_back_to_nothing(site: Path) -> None:
    for playbook in ("build", "mirror"):
        assert "Nothing was built here yet" in build(site, "--check", playbook=playbook)
    assert not (site / "output").exists()
    build(site)
    images = site / "output/qemu_x86_64/images"
    manifest = json.loads((images / "manifest.json").read_text())
    assert manifest["builder"] == "buildroot"
    assert manifest["kernel"]["embedded"] is True
    assert [part["filesystem"]["label"] for part in manifest["disk"]["partitions"]] == ["rootfs", "overlay"]
    for name, about in manifest["files"].items():
        assert hashlib.sha256((images / name).read_bytes()).hexdigest() == about["sha256"], name
    identity = "usr/lib/readonly-rootfs/base-id"
    target = site / "output/qemu_x86_64/buildroot/target"
    assert (target / identity).read_text().strip() == manifest["base_id"]
    report = site / "output/qemu_x86_64/buildroot/report"
    assert json.loads((report / "sbom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
    assert manifest["inputs"] in (report / "index.html").read_text()

    before = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    assert "changed=0" in build(site)
    assert {path.name: path.stat().st_mtime_ns for path in images.iterdir()} == before

    # One more byte in the base is another base, and its image another image.
    overlay = site / "overlay"
    (overlay / "etc").mkdir(parents=True)
    (overlay / "etc/motd").write_text("hello\n")
    build(site, image_rootfs_overlays=[str(overlay)])
    after = json.loads((images / "manifest.json").read_text())
    assert after["base_id"] != manifest["base_id"]
    assert after["files"]["sdcard.img"]["sha256"] != manifest["files"]["sdcard.img"]["sha256"]


def test_an_overlay_that_is_not_there_is_named_at_once(site: Path) -> None:
    with pytest.raises(AssertionError, match="There is no directory /no/such"):
        build(site, image_rootfs_overlays=["/no/such"])


def test_several_boards_over_several_hosts(site: Path) -> None:
    """One inventory, one run: each host builds the board that it is given."""
    boards = {"builder-1": "qemu_x86_64", "builder-2": "qemu_aarch64"}
    hosts = {
        name: {"ansible_connection": "local", "image_board": board, "image_output_dir": str(site / name)}
        for name, board in boards.items()
    }
    inventory = site / "hosts.json"
    inventory.write_text(json.dumps({"builders": {"hosts": hosts}}))
    text = build(site, inventory=str(inventory), build_hosts="builders")
    assert text.count("failed=0") == len(boards)
    for name, board in boards.items():
        (made,) = (site / name).iterdir()
        assert made.name == board
        assert json.loads((made / "images/manifest.json").read_text())["board"] == board


def test_sources_are_carried_to_a_host_without_a_network(site: Path) -> None:
    """As a user types it: a path from where he stands, and options on the command line, which are texts."""
    build(site, image_goal="sources", buildroot_archive="sources.tar", buildroot_archive_import="false")
    assert (site / "cache/dl/busybox/busybox.tar.xz").exists()
    assert (site / "sources.tar").stat().st_size > 0

    gapped = {"image_output_dir": str(site / "gapped"), "buildroot_cache_dir": str(site / "gap")}
    imported = {**gapped, "image_goal": "sources", "buildroot_archive": "sources.tar"}
    build(site, **imported, buildroot_archive_import="true")
    lost = site / "gap/dl/busybox/busybox.tar.xz"
    assert lost.read_bytes() == (site / "cache/dl/busybox/busybox.tar.xz").read_bytes()

    lost.unlink()
    with pytest.raises(AssertionError, match=rf"offline, and {site}/gap/dl lacks busybox/busybox\.tar\.xz\."):
        build(site, **gapped, buildroot_offline="true")
