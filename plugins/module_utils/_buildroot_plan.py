# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what has changed to what is built again.

Buildroot does not do this by itself: a changed option of a built package is not noticed, and a file that was
taken out of an overlay stays in the image. The rules err on the side of building too much; every step has its
reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

# Symbols that are in every binary: the whole output directory is made anew.
_EVERYTHING = re.compile(
    r"^BR2_(x86_|i386|arm|aarch64|riscv|mips|powerpc|ARCH|GCC|BINUTILS|TOOLCHAIN|KERNEL_HEADERS|"
    r"PACKAGE_(GLIBC|MUSL|UCLIBC|LINUX_HEADERS|HOST_LINUX_HEADERS|HOST_BINUTILS|HOST_GCC)|OPTIMIZE|ENABLE_|"
    r"STATIC|SHARED|SSP|RELRO|PIC|FORTIFY|REPRODUCIBLE|PER_PACKAGE|INIT_|ROOTFS_MERGED|ROOTFS_DEVICE|"
    r"ROOTFS_SKELETON|STRIP|TARGET_OPT|TARGET_LDFLAGS|USE_MMU|USE_WCHAR|ENDIAN)"
)
# Symbols that only say where things come from or how the work is done.
_NOTHING = re.compile(
    r"^BR2_(DL_DIR|PRIMARY_SITE|BACKUP_SITE|JLEVEL|CCACHE|WGET|CURL|GIT$|SVN|HG|SCP|SFTP|LOCALFILES|ZCAT|XZCAT|"
    r"BZCAT|LZCAT|TAR_OPTIONS|DOWNLOAD_|GRAPH_|\w+_MIRROR|GNU_MIRROR|HOST_DIR|COMPILER_PARANOID|VERSION|HAVE_|"
    r"NEEDS_|CHECK_|LEGACY|BASE_DIR|NORMALIZED_ARCH|DEFCONFIG)"
)
# Symbols that take effect whenever the images are put together.
_IMAGES = re.compile(
    r"^BR2_(TARGET_ROOTFS_|ROOTFS_|TARGET_GENERIC_|TARGET_ENABLE_ROOT|TARGET_TZ_|TARGET_LOCALTIME|SYSTEM_|"
    r"GENERATE_LOCALE|GLOBAL_PATCH_DIR|PACKAGE_HOST_(GENIMAGE|E2FSPROGS|MTOOLS|DOSFSTOOLS))"
)


_SHOWN = 4


@dataclass
class Plan:
    """What is done before make is called, and why."""

    everything: bool = False
    packages: dict[str, str] = field(default_factory=dict)
    reconfigure: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def rebuild_all(self, reason: str) -> None:
        """The output directory is cleaned."""
        self.everything = True
        self.reasons.append(f"everything is built again: {reason}")

    def rebuild(self, package: str, reason: str) -> None:
        """A package is built from its sources again."""
        self.packages.setdefault(package, reason)

    def targets(self) -> list[str]:
        """The make targets that prepare the build, the strongest first."""
        if self.everything:
            return ["clean"]
        return [
            *(f"{package}-dirclean" for package in sorted(self.packages)),
            *(
                f"{package}-clean-for-reconfigure"
                for package in sorted(set(self.reconfigure) - set(self.packages))
            ),
        ]

    def explain(self) -> list[str]:
        """One sentence for each thing that is done."""
        if self.everything:
            return _brief(self.reasons)
        return [
            *(f"{package} is built again: {reason}" for package, reason in sorted(self.packages.items())),
            *(
                f"{package} is configured and built again: {reason}"
                for package, reason in sorted(self.reconfigure.items())
                if package not in self.packages
            ),
            *_brief(self.reasons),
        ]


def _brief(reasons: list[str]) -> list[str]:
    """The first few; a hundred files of an overlay say no more than three."""
    if len(reasons) <= _SHOWN:
        return reasons
    return [*reasons[:_SHOWN], f"and {len(reasons) - _SHOWN} more"]


def plan(old: Mapping[str, Any], new: Mapping[str, Any], information: Mapping[str, Any]) -> Plan:
    """Compare two snapshots; `information` is Buildroot's show-info for the new configuration."""
    result = Plan()
    if old["buildroot"] != new["buildroot"]:
        result.rebuild_all(f"Buildroot was {old['buildroot'][:12]} and is {new['buildroot'][:12]}")
    if old["external"] != new["external"]:
        result.rebuild_all("the list of external trees changed")
    if old["environment"] != new["environment"]:
        result.rebuild_all("the environment of the build changed")
    owners = _Owners(information)
    for symbol in _different(old["config"], new["config"]):
        _symbol(result, symbol, owners)
    for name in _different(old["files"], new["files"]):
        _file(result, name, new, owners)
    _dependents(result, information)
    if len(result.reasons) > 1:
        result.reasons = sorted(set(result.reasons))
    return result


def _different(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


class _Owners:
    """Which package a symbol belongs to, by the longest name that it begins with."""

    def __init__(self, information: Mapping[str, Any]) -> None:
        names = [name for name, about in information.items() if about.get("type") in ("target", "host")]
        self.names = set(names)
        self.prefixes = {re.sub(r"[-.]", "_", name).upper(): name for name in names}

    def of(self, symbol: str) -> str | None:
        if symbol.startswith("BR2_LINUX_KERNEL"):
            return "linux"
        if symbol.startswith("BR2_SYSTEM_DHCP"):
            return "ifupdown-scripts"
        match = re.match(r"BR2_(?:PACKAGE|TARGET)_(.+)", symbol)
        words = match[1].split("_") if match else []
        for end in range(len(words), 0, -1):
            if owner := self.prefixes.get("_".join(words[:end])):
                return owner
        return None


def _symbol(result: Plan, symbol: str, owners: _Owners) -> None:
    if _NOTHING.match(symbol):
        return
    owner = owners.of(symbol)
    if _EVERYTHING.match(symbol):
        result.rebuild_all(f"{symbol} changed")
    elif owner in owners.names and not _IMAGES.match(symbol.replace("BR2_SYSTEM_DHCP", "")):
        result.rebuild(str(owner), f"{symbol} changed")
    elif _IMAGES.match(symbol) or symbol.startswith(("BR2_PACKAGE_", "BR2_TARGET_")):
        # A package that is no longer selected is left out when target/ is put together afresh.
        result.reasons.append(f"the images are made again: {symbol} changed")
    else:
        result.rebuild_all(f"{symbol} changed, and what it affects is not known")


def _file(result: Plan, name: str, new: Mapping[str, Any], owners: _Owners) -> None:
    users = [
        symbol
        for symbol, paths in new["references"].items()
        if any(name == path or name.startswith(f"{path}/") for path in paths)
    ]
    for symbol in users:
        if symbol == "BR2_GLOBAL_PATCH_DIR":
            package = next(
                (part for part in reversed(PurePath(name).parts[:-1]) if part in owners.names), None
            )
            if package:
                result.rebuild(package, f"its patch {name} changed")
            else:
                result.reasons.append(f"nothing is built for {name}: no package in use has this patch")
        elif (owner := owners.of(symbol)) in owners.names and not _IMAGES.match(symbol):
            result.reconfigure.setdefault(str(owner), f"{name} changed")
        else:
            result.reasons.append(f"the images are made again: {name} changed")
    if users:
        return
    tree = next((root for root in new["external"] if name.startswith(f"{root}/")), None)
    parts = Path(name).relative_to(tree).parts if tree else ()
    if parts[:1] == ("configs",):
        return
    if parts[:1] == ("package",) and len(parts) > 2:
        touched = [package for package in (parts[-2], f"host-{parts[-2]}") if package in owners.names]
        for package in touched:
            result.rebuild(package, f"{name} changed")
        if touched:
            return
    if len(parts) == 1 and parts[0] in ("external.mk", "external.desc"):
        result.rebuild_all(f"{name} changed")
    else:
        result.reasons.append(f"the images are made again: {name} changed")


def _dependents(result: Plan, information: Mapping[str, Any]) -> None:
    """What was linked with a package that changed is built again too; the images' own are not packages."""
    todo = list(result.packages)
    while todo:
        package = todo.pop()
        for dependent in _reverse(information, package):
            if dependent not in result.packages:
                result.rebuild(dependent, f"it depends on {package}")
                todo.append(dependent)


def _reverse(information: Mapping[str, Any], package: str) -> Iterable[str]:
    if package == "linux":
        # Root file systems depend on the kernel for its modules' directory; nothing is linked with it.
        return []
    return [
        name
        for name, about in information.items()
        if about.get("type") in ("target", "host") and package in about.get("dependencies", [])
    ]
