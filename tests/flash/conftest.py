# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real block devices: everything here needs root, loop devices and FUSE."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.br2.readonly_rootfs.tests.support import cards, images


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = cards.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 49 MiB, of which about 10 MiB matter."""
    return images.make_card_image(tmp_path_factory.mktemp("image"), mib=6)
