# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build was made of, how long it took and what takes the space: an SBOM and one HTML page."""

from __future__ import annotations

import html
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_log import read_times
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_sources import missing, needed
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import (
    BuildrootError,
    Tree,
    environment,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._files import write_atomically
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._program import run_program

SBOM = "sbom.cdx.json"
_BARS = 25
_SPDX = "cyclonedx/spdx-1.6.schema.json"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
body { color: #222 } table { border-collapse: collapse } code { font-size: 85%; overflow-wrap: anywhere }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
svg text { font: 12px system-ui, sans-serif; fill: #222 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } svg text { fill: #ddd } }
"""


def sbom(tree: Tree, downloads: Path, name: str, version: str) -> str:
    """The CycloneDX document that Buildroot's own generator makes.

    The generator fetches SPDX's list of licences when the download directory has none. Without a network it
    gets an empty list: licences are then given by name instead of by identifier.
    """
    generator = tree.source / "utils/generate-cyclonedx"
    if not generator.is_file():
        raise BuildrootError(
            f"{tree.source} has no utils/generate-cyclonedx: Buildroot 2025.02 or later has it."
        )
    information = tree.run(["--silent", "show-info"], {})
    with tempfile.TemporaryDirectory(prefix="sbom-") as empty:
        (Path(empty) / _SPDX).parent.mkdir()
        (Path(empty) / _SPDX).write_text('{"enum": []}', encoding="utf-8")
        directory = downloads if (downloads / _SPDX).is_file() else Path(empty)
        # It calls make itself, which would want a directory in Buildroot's tree, perhaps another user's.
        extra = {**tree.trusted(), "BR2_DL_DIR": str(directory), "MAKEFLAGS": f" -- O={tree.output}"}
        done = run_program(
            [str(generator), "--project-name", name, "--project-version", version],
            given=information,
            env=environment(os.environ, extra),
            cwd=tree.source,
            encoding="utf-8",
        )
    if done.returncode:
        raise BuildrootError(f"utils/generate-cyclonedx failed:\n{done.stderr.strip()[-2000:]}")
    said: str = done.stdout
    return said


def sizes(tree: Tree) -> dict[str, int]:
    """Bytes on the target by package; what no package installed is `(overlays and scripts)`."""
    owner: dict[str, str] = {}
    listing = tree.output / "build/packages-file-list.txt"
    for line in (
        listing.read_text(encoding="utf-8", errors="replace").splitlines() if listing.is_file() else []
    ):
        package, _comma, path = line.partition(",")
        owner[path.removeprefix("./")] = package
    found: dict[str, int] = {}
    target = tree.output / "target"
    for directory, _names, files in os.walk(target):
        for name in files:
            file = Path(directory) / name
            package = owner.get(str(file.relative_to(target)), "(overlays and scripts)")
            found[package] = found.get(package, 0) + file.lstat().st_size
    return found


def page(tree: Tree, manifest: Mapping[str, Any]) -> str:
    """The report."""
    times = read_times(tree.output / "build/build-time.log")
    rows = [
        ("Board", f"{manifest['board']} ({manifest['architecture']})"),
        ("Base", manifest["base_id"]),
        ("Root file system", manifest["root"]["type"]),
        ("Kernel command line", manifest["kernel"]["cmdline"]),
        ("Build", f"{manifest['seconds']} s of wall time, {sum(times.values()):.0f} s of package steps"),
        ("Inputs", manifest["inputs"]),
    ]
    files = [
        (name, f"{about['size']:,}", about["sha256"]) for name, about in sorted(manifest["files"].items())
    ]
    parts = [
        f"<h1>{html.escape(str(manifest['board']))}</h1>",
        _table([], rows),
        "<h2>Images</h2>",
        _table(["File", "Bytes", "SHA-256"], files),
        "<h2>Build time by package</h2>",
        bars({name: seconds for name, seconds in times.items() if seconds >= 0.05}, "s"),
        "<h2>Size on the target by package</h2>",
        bars({name: size / 1024 for name, size in sizes(tree).items()}, "KiB"),
        "<h2>Packages</h2>",
        _table(["Package", "Version"], sorted(manifest["versions"].items())),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Build of {html.escape(str(manifest['board']))}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def bars(values: Mapping[str, float], unit: str) -> str:
    """A bar for each of the biggest values, the rest in one."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    shown = ordered[:_BARS]
    if ordered[_BARS:]:
        shown.append((f"{len(ordered) - _BARS} others", sum(value for _name, value in ordered[_BARS:])))
    if not shown:
        return "<p>Nothing was recorded.</p>"
    longest = max(value for _name, value in shown) or 1.0
    lines = []
    for number, (name, value) in enumerate(shown):
        top = number * 20
        width = max(1.0, 460 * value / longest)
        lines.append(
            f'<text x="190" y="{top + 14}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect x="200" y="{top + 3}" width="{width:.1f}" height="14" fill="#3b7dd8"/>'
            f'<text x="{205 + width:.1f}" y="{top + 14}">{value:,.1f} {unit}</text>'
        )
    picture = "\n".join(lines)
    return f'<svg viewBox="0 0 760 {len(shown) * 20}" role="img">\n{picture}\n</svg>'


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = [f"<tr>{cells}</tr>"] if head else []
    for row in rows:
        cells = "".join(f"<td><code>{html.escape(str(cell))}</code></td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def write(
    tree: Tree, downloads: Path, directory: Path, manifest: Mapping[str, Any], check: bool
) -> list[str]:
    """Write what differs; the names of those files. The page names the inputs that it was made for."""
    index = directory / "index.html"
    if (
        (directory / SBOM).is_file()
        and index.is_file()
        and manifest["inputs"] in index.read_text(encoding="utf-8")
    ):
        return []
    files = {
        SBOM: sbom(tree, downloads, manifest["board"], manifest["base_id"][:12]),
        "index.html": page(tree, manifest),
    }
    json.loads(files[SBOM])
    for name, text in files.items() if not check else ():
        write_atomically(directory / name, text)
    return list(files)


def legal_info(tree: Tree, downloads: Path, check: bool) -> bool:
    """Licences and sources of everything in the images, when the build is newer than what is there."""
    # The last file that make writes; the others may be those of an attempt that failed.
    done = tree.output / "legal-info/legal-info.sha256"
    stamp = tree.state / "stamp.json"
    if done.is_file() and done.stat().st_mtime >= stamp.stat().st_mtime:
        return False
    if check:
        return True
    try:
        tree.run(["legal-info"], {}, timeout=86400)
    except BuildrootError as error:
        # make copies those of what it has built already, and does not bring them again.
        if absent := missing(needed(tree), downloads):
            raise BuildrootError(
                f"Legal information holds every source, and {downloads} lacks {', '.join(absent)}. "
                "Bring or import them with the playbook sources.yml, then run again."
            ) from error
        raise
    return True
