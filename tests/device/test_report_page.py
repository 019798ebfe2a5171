# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a browser: what it shows, that it sorts, that it fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.plugin_utils._report import build_report, render_page

TEMPLATE = Path(__file__).parents[2] / "files/device/report.html"
EVIL = "/etc/</script><script>document.title='broken'</script>&lt;b>"

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="SKIPPED: chromium is not installed")


def drift(count: int, path: str = "/etc/hostname") -> dict[str, Any]:
    changes = [{"path": f"{path}{index or ''}", "kind": "added", "after": {}} for index in range(count)]
    return {"changes": changes, "different": bool(count), "counts": {"added": count} if count else {}}


def browse(directory: Path, results: dict[str, Any], script: str = "") -> str:
    """The page's DOM after its script and then ours have run."""
    page = directory / "report.html"
    content = render_page(TEMPLATE.read_text(), build_report(results))
    page.write_text(content.replace("</body>", f"<script>{script}</script></body>"))
    return dump(page)


def dump(page: Path, *options: str) -> str:
    browser = "chromium --headless=new --no-sandbox --disable-gpu --virtual-time-budget=3000 --dump-dom"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [*browser.split(), profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()


def rows(dom: str) -> list[list[str]]:
    """The text of the table's cells."""
    body = dom.split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body.split("<tr>")[1:]]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in line] for line in lines]


FLEET = {
    "gate-10": drift(3),
    "gate-9": drift(0),
    "gate-1": {"unreachable": True, "msg": "No route to host"},
}


def test_devices_are_listed_in_natural_order(tmp_path: Path) -> None:
    table = rows(browse(tmp_path, FLEET))
    assert [row[:3] for row in table] == [
        ["gate-1", "unreachable", ""],
        ["gate-9", "same", ""],
        ["gate-10", "different", "3 added"],
    ]
    assert table[0][5] == "No route to host"


def test_a_click_on_a_title_sorts_and_another_one_reverses(tmp_path: Path) -> None:
    click = "document.querySelectorAll('th button')[2].click();"
    assert rows(browse(tmp_path, FLEET, click))[-1][0] == "gate-10"
    assert rows(browse(tmp_path, FLEET, click * 2))[0][0] == "gate-10"


def test_files_can_be_filtered(tmp_path: Path) -> None:
    script = (
        "document.querySelectorAll('nav button')[1].click();"
        "const field = document.querySelector('input'); field.value = 'NAME2'; field.oninput();"
    )
    assert [row[0] for row in rows(browse(tmp_path, FLEET, script))] == ["/etc/hostname2"]


def test_a_name_cannot_break_out(tmp_path: Path) -> None:
    dom = browse(tmp_path, {"gate": drift(1, EVIL)}, "document.querySelectorAll('nav button')[1].click();")
    assert "<title>Drift of the fleet</title>" in dom
    assert [row[0] for row in rows(dom)] == [EVIL]


def test_it_fits_a_phone(tmp_path: Path) -> None:
    # A frame, because Chromium's own window is never narrower than 500 pixels.
    results = {"a-device-with-a-rather-long-name.example.org": drift(2, "/var/lib/" + "long" * 40)}
    content = render_page(TEMPLATE.read_text(), build_report(results))
    (tmp_path / "report.html").write_text(content)
    wrapper = tmp_path / "phone.html"
    wrapper.write_text(
        "<iframe width=360 height=700 src=report.html style='border:0'></iframe><script>"
        "document.querySelector('iframe').onload = (event) => {"
        "const page = event.target.contentDocument; page.querySelectorAll('nav button')[1].click();"
        "const root = page.documentElement;"
        "document.body.append(`${root.clientWidth} WIDE, ${root.scrollWidth} NEEDED`); };</script>"
    )
    found = re.search(r"(\d+) WIDE, (\d+) NEEDED", dump(wrapper, "--allow-file-access-from-files"))
    assert found is not None
    assert int(found[2]) <= int(found[1]) <= 360
