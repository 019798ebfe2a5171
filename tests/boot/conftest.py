# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench for every test, and the table of cases at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.boot.lab.rig import Images, Rig

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The images under test: `BR2_IMAGES`, else built here, preferably with a kernel from source."""
    built = [REPOSITORY / output / "qemu_x86_64/images" for output in ("output/source", "output")]
    found = [path for path in built if (path / "bzImage").exists()]
    directory = Path(os.environ.get("BR2_IMAGES") or (found or built)[0])
    for name in ("bzImage", "rootfs.cpio"):
        if not (directory / name).exists():
            pytest.fail(f"{directory} has no {name}: build an image first, or point BR2_IMAGES at one")
    return Images.at(directory.resolve(), tmp_path_factory.mktemp("images") / "initramfs")


@pytest.fixture
def rig(images: Images, tmp_path: Path) -> Iterator[Rig]:
    bench = Rig(images, tmp_path)
    try:
        yield bench
    finally:
        bench.close()
        # Disks are large and many; what a failure needs is the consoles.
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.suffix != ".log":
                path.unlink()


@pytest.fixture(autouse=True)
def _proves(request: pytest.FixtureRequest, record_property: pytest.RecordProperty) -> None:  # type: ignore[name-defined]
    doc = request.function.__doc__ or ""
    record_property("proves", " ".join(doc.split("\n\n")[0].split()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest one first, which the other workers would wait for in the end."""
    items.sort(key=lambda item: item.name != "test_fifty_reboots")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Case, what it proves, seconds, verdict."""
    rows: dict[str, tuple[str, str, float, str]] = {}
    for verdict in ("passed", "skipped", "error", "failed"):
        for report in terminalreporter.stats.get(verdict, []):
            proves = dict(report.user_properties).get("proves")
            if proves is not None:
                file, _colons, name = report.nodeid.partition(".py::")
                case = f"{Path(file).name.removeprefix('test_')} {name.removeprefix('test_')}"
                rows[report.nodeid] = (case, proves, report.duration, verdict)
    if not rows:
        return
    terminalreporter.section("boot cases")
    width = max(len(row[0]) for row in rows.values())
    for case, proves, seconds, verdict in sorted(rows.values()):
        terminalreporter.write_line(f"{case:{width}}  {seconds:6.1f} s  {verdict:7}  {proves}")
    verdicts = [row[3] for row in rows.values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))
    terminalreporter.write_line(f"{len(rows)} boot cases: {counts}")
