# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file that dracut makes of the boot script says what the sources say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .conftest import MODULE, SHELLS

SOURCED = re.findall(r'^\. "\$lib/(\w+)\.sh"$', (MODULE / "init").read_text(), re.MULTILINE)


def module_setup(command: str) -> str:
    script = f"moddir={MODULE}\n. {MODULE}/module-setup.sh\n{command}"
    return subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True).stdout


def functions(script: str) -> str:
    """All functions and the code around them, as bash understands them: without layout and comments."""
    done = subprocess.run(
        ["bash", "--posix", "-c", f"whole() {{\n{script}\n}}\ndeclare -f whole"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_joined_script_is_the_script() -> None:
    assert len(SOURCED) > 5
    sources = (MODULE / "init").read_text()
    for name in SOURCED:
        sources = sources.replace(f'. "$lib/{name}.sh"', (MODULE / f"lib/{name}.sh").read_text())
    joined = module_setup("joined_init")
    assert functions(joined) == functions(sources)
    assert joined.startswith("#!/bin/sh\n# SPDX-FileCopyrightText")
    assert "License-Identifier: MIT" in joined


@pytest.mark.parametrize("part", sorted(path.name for path in MODULE.glob("lib/*.sh")))
def test_each_part_is_either_joined_or_beside(part: str) -> None:
    beside = module_setup(f"is_sourced {part} || stripped <{MODULE}/lib/{part}")
    assert (beside == "") == (part.removesuffix(".sh") in SOURCED)
    if beside:
        assert functions(beside) == functions((MODULE / "lib" / part).read_text())
        assert "License-Identifier: MIT" in beside


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_each_shell_reads_the_joined_script(shell: str, tmp_path: Path) -> None:
    joined = tmp_path / "init"
    joined.write_text(module_setup("joined_init"))
    subprocess.run([*SHELLS[shell], "-n", joined], check=True)
