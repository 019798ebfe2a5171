# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator of mount units, and what systemd itself says about them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import SYSTEMD, Target

OURS = {"overlay-dir@.service", "overlay-dir-mounts@.service"}


def escaped(path: str) -> str:
    answer = subprocess.run(
        ["systemd-escape", "--path", path], capture_output=True, text=True, check=True, timeout=10
    )
    return answer.stdout.strip()


def test_nothing_asked_for_is_nothing_done(target: Target) -> None:
    generated = target.generate()
    assert not generated.files()
    assert not generated.messages


def test_one_file_adds_a_directory_and_its_removal_removes_it(target: Target) -> None:
    target.ask("/var")
    assert "var.mount" in target.generate().files()
    (target.root / "etc/readonly-rootfs/overlay-dirs.d/var.conf").unlink()
    assert not target.generate().files()


def test_the_mount_unit_is_ordered_and_laid_out(target: Target) -> None:
    target.ask("/var")
    generated = target.generate()
    unit = generated.unit("var.mount")
    assert unit["Unit"]["DefaultDependencies"] == ["no"]
    assert unit.words("Unit", "Before") == ["local-fs.target", "umount.target"]
    assert unit.words("Unit", "Conflicts") == ["umount.target"]
    for key in ("Wants", "After", "PartOf"):
        assert "overlay-dir@var.service" in unit.words("Unit", key)
    assert "ConditionPathExists" in unit["Unit"]
    assert not {"BindsTo", "Requires"} & set(unit["Unit"])
    assert unit["Mount"]["Where"] == ["/var"]
    assert unit["Mount"]["Type"] == ["overlay"]
    options = unit["Mount"]["Options"][0].split(",")
    place = "/run/buildroot/mounts/var"
    assert options[:3] == [f"lowerdir={place}/lower", f"upperdir={place}/upper", f"workdir={place}/work"]
    assert {"redirect_dir=off", "index=off", "metacopy=off", "xino=off"} <= set(options)
    wanted = generated.normal / "local-fs.target.wants/var.mount"
    assert wanted.is_symlink()
    assert wanted.resolve() == generated.normal / "var.mount"


def test_what_reads_etc_early_waits_for_its_overlay(target: Target) -> None:
    target.ask("/etc")
    target.ask("/var")
    generated = target.generate()
    assert "systemd-networkd.service" in generated.unit("etc.mount").words("Unit", "Before")
    assert "systemd-networkd.service" not in generated.unit("var.mount").words("Unit", "Before")
    machine_id = generated.unit("overlay-dir-mounts@etc.service.d/50-overlay-dirs.conf")
    assert "systemd-networkd.service" in machine_id.words("Unit", "Before")


@pytest.mark.parametrize(
    "directory", ["/var", "/home/app", "/opt/my-app", "/srv/a b", "/srv/100%", "/opt/x:y", "/opt/back\\slash"]
)
def test_units_have_the_names_that_systemd_expects(target: Target, directory: str) -> None:
    target.ask(directory, name="one")
    generated = target.generate()
    name = escaped(directory)
    unit = generated.unit(f"{name}.mount")
    assert unit["Mount"]["Where"] == [directory.replace("%", "%%")]
    assert not set("\\:") & set(unit["Mount"]["Options"][0])
    backing = escaped(f"/run/buildroot/mounts/{name}") + ".mount"
    drop_in = generated.unit(f"overlay-dir@{name}.service.d/50-overlay-dirs.conf")
    assert drop_in.words("Unit", "Wants") == drop_in.words("Unit", "After") == [backing]
    assert "Requires" not in drop_in["Unit"]


def test_a_nested_directory_waits_for_the_one_above(target: Target) -> None:
    target.ask("/home/app/data")
    drop_in = target.generate().unit("overlay-dir@home-app-data.service.d/50-overlay-dirs.conf")
    assert drop_in["Unit"]["RequiresMountsFor"] == ['"/home/app"']


@pytest.mark.parametrize(
    "directory", ["/", "var", "/var/../etc", "/a//b", "/./a", "/run/x", "/proc", "/dev/shm", "/sys"]
)
def test_what_cannot_be_overlaid_is_refused_with_a_message(target: Target, directory: str) -> None:
    target.ask(directory, name="bad")
    target.ask("/srv", name="good")
    generated = target.generate()
    mounts = {name for name in generated.files() if name.endswith(".mount") and "/" not in name}
    assert mounts == {"srv.mount"}
    assert "bad.conf" in generated.messages


def test_a_trailing_slash_and_a_repetition_do_not_matter(target: Target) -> None:
    target.ask("/var/", name="a")
    target.ask("/var", "stale=reset", name="b")
    drop_in = target.generate().unit("overlay-dir@var.service.d/50-overlay-dirs.conf")
    assert "stale=warn" in drop_in.words("Service", "Environment")


def test_one_file_can_name_several_directories(target: Target) -> None:
    target.write(
        "usr/lib/readonly-rootfs/overlay-dirs.d/image.conf",
        "# of the image\ndirectory=/var\nstale=reset\n\ndirectory=/srv\n",
    )
    generated = target.generate()
    var, srv = (
        generated.unit(f"overlay-dir@{name}.service.d/50-overlay-dirs.conf").words("Service", "Environment")
        for name in ("var", "srv")
    )
    assert "stale=reset" in var
    assert "stale=warn" in srv


def test_etc_masks_usr_lib(target: Target) -> None:
    target.ask("/var", name="image", place="usr/lib")
    target.ask("/srv", name="more", place="usr/lib")
    (target.root / "etc/readonly-rootfs/overlay-dirs.d").mkdir(parents=True)
    (target.root / "etc/readonly-rootfs/overlay-dirs.d/image.conf").symlink_to("/dev/null")
    files = target.generate().files()
    assert "srv.mount" in files
    assert "var.mount" not in files


def test_unknown_settings_are_reported_and_ignored(target: Target) -> None:
    target.ask("/var", "wiat=3", "wait=soon", "stale=perhaps")  # codespell:ignore wiat
    generated = target.generate()
    assert "var.mount" in generated.files()
    for word in ("wiat=3", "wait=soon", "stale=perhaps"):  # codespell:ignore wiat
        assert word in generated.messages


@pytest.mark.parametrize(
    ("what", "device"),
    [
        ("/dev/sdc1", "dev-sdc1.device"),
        ("UUID=6b0e-11", r"dev-disk-by\x2duuid-6b0e\x2d11.device"),
        ("LABEL=data", r"dev-disk-by\x2dlabel-data.device"),
        ('PARTLABEL="my"', r"dev-disk-by\x2dpartlabel-my.device"),
    ],
)
def test_a_disk_in_fstab_is_not_required_and_not_waited_for_long(
    target: Target, what: str, device: str
) -> None:
    target.ask("/var", "wait=3")
    target.write("etc/fstab", f"# a comment\n\n{what}\t/run/buildroot/mounts/var\text4\tdefaults\n")
    generated = target.generate()
    mask = generated.early / "local-fs.target.requires/run-buildroot-mounts-var.mount"
    assert mask.readlink() == Path("/dev/null")
    assert generated.unit(f"{device}.d/50-overlay-dirs.conf")["Unit"]["JobRunningTimeoutSec"] == ["3"]
    drop_in = generated.unit("overlay-dir@var.service.d/50-overlay-dirs.conf")
    assert "asked=yes" in drop_in.words("Service", "Environment")


def test_the_administrators_own_timeout_stays(target: Target) -> None:
    target.ask("/var")
    options = "defaults,x-systemd.device-timeout=60s"
    target.write("etc/fstab", f"/dev/sdc1 /run/buildroot/mounts/var ext4 {options}\n")
    assert not [name for name in target.generate().files() if ".device.d" in name]


def test_a_mount_unit_serves_as_well_as_fstab(target: Target) -> None:
    target.ask("/var")
    target.write(
        "usr/lib/systemd/system/run-buildroot-mounts-var.mount",
        "[Mount]\nWhat=/dev/sdc1\nWhere=/run/buildroot/mounts/var\nType=ext4\n",
    )
    generated = target.generate()
    assert "dev-sdc1.device.d/50-overlay-dirs.conf" in generated.files()
    drop_in = generated.unit("overlay-dir@var.service.d/50-overlay-dirs.conf")
    assert "asked=yes" in drop_in.words("Service", "Environment")


def test_a_backing_does_not_touch_the_next_directory_of_the_same_file(target: Target) -> None:
    target.write("etc/readonly-rootfs/overlay-dirs.d/all.conf", "directory=/a\ndirectory=/b\ndirectory=/c\n")
    target.write("etc/systemd/system/run-buildroot-mounts-a.mount", "[Mount]\nWhat=x\nType=tmpfs\n")
    target.write("etc/fstab", "/dev/sdc1 /run/buildroot/mounts/b ext4 defaults\n")
    generated = target.generate()
    assert {"a.mount", "b.mount", "c.mount"} <= generated.files()
    assert not generated.messages


def test_a_directory_with_its_own_line_in_fstab_is_left_alone(target: Target) -> None:
    target.ask("/var")
    target.write("etc/fstab", "/dev/sdc1 /var ext4 defaults\n")
    generated = target.generate()
    assert not generated.files()
    assert "/etc/fstab" in generated.messages


def test_buildroots_units_for_var_are_replaced(target: Target) -> None:
    target.write("usr/lib/systemd/system/prepare-var-overlay.service", "[Service]\nExecStart=/bin/true\n")
    generated = target.generate()
    assert (generated.normal / "prepare-var-overlay.service").readlink() == Path("/dev/null")
    assert generated.unit("var.mount")["Mount"]["Type"] == ["overlay"]


@pytest.fixture
def units(target: Target, tmp_path: Path) -> Path:
    """The generated units beside the template ones, as systemd finds them on a device."""
    for directory in ("/var", "/home/app", "/opt/my-app"):
        target.ask(directory)
    generated = target.generate()
    for name in OURS:
        text = (SYSTEMD / "system" / name).read_text()
        # systemd-analyze looks whether the program is there; it is, on a device.
        program = SYSTEMD.parent / "readonly-rootfs/overlay-dir"
        (generated.normal / name).write_text(
            text.replace("/usr/lib/readonly-rootfs/overlay-dir", str(program))
        )
    return generated.normal


@pytest.mark.parametrize("unit", ["var.mount", "home-app.mount", r"opt-my\x2dapp.mount"])
def test_systemd_accepts_the_units(units: Path, unit: str) -> None:
    shutil.copytree(SYSTEMD / "system/systemd-remount-fs.service.d", units / "systemd-remount-fs.service.d")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(units / unit), "systemd-remount-fs.service"],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    complaints = [
        line for line in verified.stderr.splitlines() if any(part in line for part in ("overlay", ".mount"))
    ]
    assert verified.returncode == 0, verified.stderr
    assert not complaints
