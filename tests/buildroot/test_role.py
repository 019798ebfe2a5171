# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role from a playbook: progress, no-op, failures, Ctrl-C, and a build that its starter leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


class Site:
    """A build host's directories: Buildroot, an external tree, output and cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(HERE / "fixture", root / "tree")
        external = root / "external"
        (external / "configs").mkdir(parents=True)
        (external / "external.desc").write_text("name: SITE\n")
        self.defconfig = external / "configs" / "site_defconfig"
        self.defconfig.write_text((HERE / "fixture/configs/plain_defconfig").read_text())
        self.output = root / "output"
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "buildroot_dir": str(root / "tree"),
            "buildroot_output_dir": str(self.output),
            "buildroot_external": [str(external)],
            "buildroot_defconfig": "site_defconfig",
            "result_file": str(root / "result.json"),
            "buildroot_user": USER,
            "buildroot_cache_dir": str(root / "cache"),
            "buildroot_artefacts": ["bzImage", "rootfs.cpio", "rootfs.ext2"],
            "buildroot_initramfs": "rootfs.cpio",
        }

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "result.json").read_text())
        return found

    def fault(self, text: str) -> None:
        (self.output / "fault").write_text(text)

    def command(self, **variables: Any) -> list[str]:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        given = json.dumps({**self.variables, **variables})
        return [
            str(ansible),
            "--inventory=build1,",
            "--connection=local",
            f"--extra-vars={given}",
            str(HERE / "play.yml"),
        ]

    def start(self, **variables: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(**variables),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
        )

    def run(self, **variables: Any) -> tuple[int, str]:
        play = self.start(**variables)
        text, _nothing = play.communicate(timeout=120)
        return play.returncode, text


def wait_for(path: Path, what: str) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return path.read_text().strip()


@pytest.fixture
def site() -> Iterator[Site]:
    # Not pytest's own directories: those are for one user only, and another one builds.
    with tempfile.TemporaryDirectory(prefix="br2-role-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        made = Site(root)
        yield made
        with contextlib.suppress(OSError, ValueError):
            about = json.loads((made.output / ".readonly-rootfs/job.json").read_text())
            os.kill(about["pid"], signal.SIGTERM)


def test_builds_shows_progress_and_then_does_nothing(site: Site) -> None:
    code, text = site.run()
    assert code == 0, text
    doing = "downloading|extracting|patching|configuring|building|installing"
    assert re.search(rf"\[build1\] \d+/8 (images|\S+ ({doing})), \d+:\d\d", text), text
    assert site.result()["reasons"] == ["nothing was built here yet"]
    assert (site.output / "images/bzImage").owner() == USER

    code, text = site.run()
    assert code == 0, text
    assert "changed=0" in text
    assert site.result()["changed"] is False
    assert site.result()["versions"]["busybox"] == "1.37.0"


def test_a_dropped_symbol_stops_the_play(site: Site) -> None:
    code, text = site.run(buildroot_symbols={"BR2_INIT_SYSTEMD_VAR_OVERLAYFS": "y"})
    assert code != 0
    assert "BR2_INIT_SYSTEMD_VAR_OVERLAYFS: wanted y, got absent; unmet dependency: BR2_INIT_SYSTEMD" in text
    assert not (site.output / ".config").exists()


def test_a_failed_package_shows_its_last_lines(site: Site) -> None:
    site.run()
    site.fault("compile dropbear")
    code, text = site.run(buildroot_symbols={"BR2_REPRODUCIBLE": "y"})
    assert code != 0
    assert "dropbear-2026.91 failed to be built" in text
    assert "dropbear.c:7: error" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="A SMALL DISK wants root, who may mount one")
def test_a_full_disk_is_named_and_the_build_goes_on_when_it_is_not(site: Site) -> None:
    site.output.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(site.output)], check=True)
    try:
        site.fault("fill dropbear")
        code, text = site.run()
        assert code != 0
        assert f"The disk is full: {site.output} has 0 MiB free" in " ".join(text.split()), text
        (site.output / "ballast").unlink()
        site.fault("")
        code, text = site.run()
        assert code == 0, text
        assert site.result()["reasons"] == ["the last build did not come to its end"]
    finally:
        subprocess.run(["umount", "--lazy", str(site.output)], check=True)


def test_ctrl_c_ends_the_build_and_all_its_processes(site: Site) -> None:
    site.run()
    site.fault("hang dropbear")
    play = site.start(buildroot_symbols={"BR2_REPRODUCIBLE": "y"})
    pid = wait_for(site.output / "hang", "the build does not hang")
    play.send_signal(signal.SIGINT)
    play.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a process of the build is left"
        time.sleep(0.1)
    assert json.loads((site.output / ".readonly-rootfs/result.json").read_text())["cancelled"] is True


def test_a_build_whose_controller_died_is_watched_again(site: Site) -> None:
    site.run()
    site.fault("hang dropbear")
    play = site.start(buildroot_symbols={"BR2_REPRODUCIBLE": "y"})
    wait_for(site.output / "hang", "the build does not hang")
    play.kill()
    # Its worker, which holds the other end of the pipe, goes too.
    play.communicate(timeout=60)
    site.fault("")
    again = site.start(buildroot_symbols={"BR2_REPRODUCIBLE": "y"})
    assert again.stdout is not None
    seen = ""
    for line in again.stdout:
        seen += line
        if "watching it" in line:
            (site.output / "go-on").touch()
            break
    rest, _nothing = again.communicate(timeout=60)
    assert again.returncode == 0, seen + rest
    assert site.result()["changed"] is True


def test_a_cache_of_compiled_objects_and_a_mirror_are_configured(site: Site) -> None:
    # The fixture has no compiler: only the configuration can be looked at.
    code, text = site.run(buildroot_primary_site="http://mirror.example/dl", buildroot_offline=True)
    assert code == 0, text
    config = (site.output / ".config").read_text()
    assert 'BR2_PRIMARY_SITE="http://mirror.example/dl"' in config
    assert "BR2_PRIMARY_SITE_ONLY=y" in config
    assert f'BR2_DL_DIR="{site.root}/cache/dl"' in config
