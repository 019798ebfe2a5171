# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_config as config
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_report as report
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _buildroot_sources as sources
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

FIXTURE = Path(__file__).parents[1] / "buildroot" / "fixture"
MANIFEST: dict[str, Any] = {
    "board": "qemu_x86_64",
    "architecture": "x86_64",
    "base_id": "0123456789abcdef",
    "inputs": "feedface",
    "seconds": 12.5,
    "root": {"type": "ext2"},
    "kernel": {"cmdline": "console=ttyS0 <quiet>"},
    "files": {"bzImage": {"size": 1234567, "sha256": "ab"}},
    "versions": {"busybox": "1.37.0"},
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(FIXTURE, tmp_path / "output")
    config.apply(made, (FIXTURE / "configs/plain_defconfig").read_text(), check_mode=False)
    made.run(["all"], {})
    (made.output / "build/packages-file-list.txt").write_text("busybox,./etc/busybox\nlinux,./etc/linux\n")
    (made.output / "target/etc/busybox").write_bytes(b"x" * 2048)
    return made


def test_sbom_and_page(tree: Tree, tmp_path: Path) -> None:
    directory = tmp_path / "report"
    assert report.write(tree, tmp_path, directory, MANIFEST, check=True) == [report.SBOM, "index.html"]
    assert not directory.exists()
    assert report.write(tree, tmp_path, directory, MANIFEST, check=False) == [report.SBOM, "index.html"]
    assert report.write(tree, tmp_path, directory, MANIFEST, check=False) == []
    assert report.write(tree, tmp_path, directory, {**MANIFEST, "inputs": "other"}, check=True)

    document = json.loads((directory / report.SBOM).read_text())
    assert {"busybox", "linux"} <= {component["name"] for component in document["components"]}
    text = (directory / "index.html").read_text()
    assert "console=ttyS0 &lt;quiet&gt;" in text
    assert "1,234,567" in text


def test_licences_are_identifiers_when_the_list_is_there(tree: Tree, tmp_path: Path) -> None:
    plain = json.loads(report.sbom(tree, tmp_path, "x", "1"))
    assert plain["components"][0]["licenses"] == [{"license": {"name": "MIT"}}]
    (tmp_path / "cyclonedx").mkdir()
    (tmp_path / "cyclonedx/spdx-1.6.schema.json").write_text('{"enum": ["MIT"]}')
    listed = json.loads(report.sbom(tree, tmp_path, "x", "1"))
    assert listed["components"][0]["licenses"] == [{"license": {"id": "MIT"}}]


def test_legal_info_is_gathered_once_for_a_build(tree: Tree, tmp_path: Path) -> None:
    downloads = tmp_path / "dl"
    sources.download(tree, sources.by_package(tree), downloads)
    tree.state.mkdir(exist_ok=True)
    (tree.state / "stamp.json").write_text("{}")
    fault = tree.output / "fault"
    fault.write_text("legal-info")
    with pytest.raises(BuildrootError, match="COPYING has wrong sha256 hash"):
        report.legal_info(tree, downloads, check=False)
    (downloads / "busybox/busybox.tar.xz").unlink()
    with pytest.raises(BuildrootError, match=r"dl lacks busybox/busybox\.tar\.xz\. Bring or import"):
        report.legal_info(tree, downloads, check=False)
    fault.unlink()
    # What the failed attempt left does not count.
    assert report.legal_info(tree, downloads, check=True)
    assert report.legal_info(tree, downloads, check=False)
    assert '"busybox"' in (tree.output / "legal-info/manifest.csv").read_text()
    assert not report.legal_info(tree, downloads, check=False)
    os.utime(tree.state / "stamp.json", (2**32, 2**32))
    assert report.legal_info(tree, downloads, check=True)


def test_what_takes_the_space(tree: Tree) -> None:
    sizes = report.sizes(tree)
    assert sizes["busybox"] == 2048
    # dropbear and the rest are on nobody's list.
    assert sizes["(overlays and scripts)"] > 0


def test_the_picture_is_well_formed_and_keeps_the_order() -> None:
    picture = report.bars({f"p<{n}>": float(n) for n in range(1, 41)}, "s")
    names = re.findall(r'text-anchor="end">([^<]*)</text>', picture)
    assert names[:2] == ["p&lt;40&gt;", "p&lt;39&gt;"]
    assert names[-1] == "15 others"
    assert max(float(width) for width in re.findall(r'width="([\d.]+)"', picture)) == 460


def test_an_old_buildroot(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(BuildrootError, match="no utils/generate-cyclonedx"):
        report.sbom(Tree(tmp_path, tree.output), tmp_path, "x", "1")
