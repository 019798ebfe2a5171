# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One build: decide what is to be done, start it, judge it. Nothing believes make's exit status alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils import (
    _buildroot_kernel,
    _buildroot_sources,
    _initramfs,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_job import (
    Job,
    Step,
    read_json,
    write_json,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_log import (
    clean,
    diagnose,
    estimate,
    read_times,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_plan import plan
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_snapshot import take
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import (
    BuildrootError,
    Tree,
    environment,
)

# dracut ends with status 0 whatever it could not install, and Buildroot with it.
_LOST = re.compile(r"dracut\S*: .*(?:FAILED|ERROR|not found \(required by)")


class FailedError(BuildrootError):
    """The build failed, or made what must not be used."""


@dataclass(frozen=True)
class Build:
    """The build of one output directory."""

    tree: Tree
    jobs: int
    environment: Mapping[str, str] = field(default_factory=dict)
    artefacts: Sequence[str] = ()
    initramfs: str = ""

    @property
    def job(self) -> Job:
        """The job of this output directory."""
        return Job(self.tree.state)

    def prepare(self, force: bool) -> dict[str, Any] | None:
        """What is to be done; None when the artefacts are what the inputs give already."""
        snapshot = take(self.tree, self.environment)
        stamp = read_json(self.tree.state / "stamp.json")
        if not stamp:
            return _todo(snapshot, "nothing was built here yet")
        same = all(stamp.get(key) == value for key, value in snapshot.items() if key != "references")
        if same and not force and stamp.get("complete"):
            gone = [name for name in self.artefacts if stamp["artefacts"].get(name) != self._state(name)]
            if not gone:
                return None
            return _todo(snapshot, f"{', '.join(gone)} changed or missing")
        if same:
            return _todo(snapshot, "it was asked for" if force else "the last build did not come to its end")
        decided = plan(stamp, snapshot, self.information())
        reasons = decided.explain() or ["an input changed that no package uses"]
        # What such a package installed before, a kernel module perhaps, is not removed by Buildroot.
        stale = [f"per-package/{name}/target" for name in decided.reconfigure]
        return {"snapshot": snapshot, "targets": decided.targets(), "reasons": reasons, "stale": stale}

    def information(self) -> dict[str, Any]:
        """Buildroot's show-info."""
        try:
            data = json.loads(self.tree.run(["--silent", "show-info"], {}))
        except ValueError as error:
            raise BuildrootError(f"`make show-info` gave no JSON: {error}") from error
        return data if isinstance(data, dict) else {}

    def start(self, todo: Mapping[str, Any]) -> dict[str, Any]:
        """Start what `prepare` found."""
        state, config = self.tree.state, todo["snapshot"]["config"]
        state.mkdir(parents=True, exist_ok=True)
        per_package = config.get("BR2_PER_PACKAGE_DIRECTORIES") == "y"
        variables = {"BR2_JLEVEL": str(self.jobs)}
        steps = []
        if todo["targets"]:
            steps.append(Step(self.tree.command(todo["targets"], variables)))
        if per_package:
            # Put together afresh from the packages' own directories, so that nothing taken out of an overlay
            # or of the list of packages stays.
            stale = [str(self.tree.output / name) for name in ("target", *todo.get("stale", ()))]
            steps.append(Step(["rm", "-rf", *stale]))
        if before := _buildroot_sources.ahead(self.tree, config, todo["targets"]):
            steps.append(Step(self.tree.command(before, {})))
        steps.append(Step(["rm", "-rf", *self._copied_dracut_modules(todo["snapshot"])]))
        # From here on the output directory belongs to the new snapshot, though not all of it is built.
        packages = self.information()
        pending = {**todo["snapshot"], "complete": False, "artefacts": {}, "versions": _versions(packages)}
        write_json(state / "pending.json", pending)
        steps[-1] = Step(steps[-1].command, ("pending.json", "stamp.json"))
        parallel = [f"-j{self.jobs}", "--output-sync=recurse"] if per_package and self.jobs > 1 else []
        steps.append(Step(self.tree.command([*parallel, "all"], variables)))
        os.umask(0o022)
        self.job.start(
            steps,
            environment(os.environ, {**self.tree.trusted(), **self.environment}),
            self.tree.source,
            {"id": uuid.uuid4().hex, "reasons": todo["reasons"], "packages": _build_directories(packages)},
        )
        return self.outlook()

    def _copied_dracut_modules(self, snapshot: Mapping[str, Any]) -> list[str]:
        """Buildroot copies dracut modules over older copies; a file that is no more would stay."""
        names = [
            entry.name
            for root in snapshot["references"].get("BR2_TARGET_ROOTFS_CPIO_DRACUT_MODULES", [])
            for entry in Path(root).iterdir()
            if entry.is_dir()
        ]
        return [str(self.tree.output / "host/lib/dracut/modules.d" / name) for name in names] or [
            str(self.tree.state / "nothing")
        ]

    def outlook(self) -> dict[str, Any]:
        """What a watcher needs: where the log is, how many packages there are, how long it may take."""
        about = self.job.about()
        history = read_json(self.tree.state / "history.json")
        packages: dict[str, str] = about.get("packages", {})
        done = {path.parent.name for path in self.tree.output.glob("build/*/.stamp_installed")}
        todo = [name for name, directory in packages.items() if directory not in done]
        return {
            "id": about.get("id", ""),
            "started": about.get("started", 0),
            "reasons": about.get("reasons", []),
            "log": str(self.job.log),
            "output": str(self.tree.output),
            "total": len(packages),
            "estimate": estimate(history.get("seconds", {}), history.get("ratio", 1.0), todo),
        }

    def finish(self) -> dict[str, Any]:
        """Judge the ended build: every artefact there, new, and an initramfs that can start."""
        result, about = self.job.result(), self.job.about()
        if not result:
            # On a full disk not even that can be written.
            why = self._room() or "It was killed, or the build host was restarted."
            raise FailedError(
                f"The build ended without a result. {why} Run again; what is built already is kept."
            )
        seconds = result["ended"] - about["started"]
        if result["cancelled"]:
            raise FailedError("The build was cancelled. Run again; what is built already is kept.")
        if result["status"] < 0:
            raise FailedError(
                f"make was killed by signal {-result['status']}. Run again; what is built already is kept."
            )
        lines = self._log_lines()
        if result["status"]:
            self._fail(lines)
        lost = [clean(line) for line in lines if _LOST.search(line)]
        if lost:
            raise FailedError(
                f"make succeeded, but the initramfs lacks files: {lost[0]}\n"
                "A kernel with it panics; host-dracut loads a library of the build host.",
                tail=lost[:40],
            )
        self._check_artefacts(about["started"])
        stamp = read_json(self.tree.state / "stamp.json")
        self._check_kernel(stamp, about["packages"])
        self._remember(seconds)
        artefacts = {name: self._state(name) for name in self.artefacts}
        done = {**stamp, "complete": True, "artefacts": artefacts, "seconds": round(seconds, 1)}
        write_json(self.tree.state / "stamp.json", done)
        return {"reasons": about["reasons"], **self.facts()}

    def facts(self) -> dict[str, Any]:
        """What is known of the last build that ended well."""
        stamp = read_json(self.tree.state / "stamp.json")
        inputs = {
            name: stamp.get(name) for name in ("buildroot", "config", "environment", "external", "files")
        }
        return {
            "inputs": hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest(),
            "log": str(self.job.log),
            "seconds": stamp.get("seconds", 0.0),
            "versions": stamp.get("versions", {}),
        }

    def _fail(self, lines: Sequence[str]) -> None:
        failure = diagnose(lines)
        said = str(failure), self._room("disk is full" in failure.cause), f"The whole log: {self.job.log}"
        raise FailedError(
            " ".join(filter(None, said)) + "\n" + "\n".join(failure.tail),
            package=failure.package,
            step=failure.step,
            urls=list(failure.urls),
            tail=list(failure.tail),
        )

    def _room(self, suspected: bool = False) -> str:
        """What is free, when that is next to nothing: a log on a full disk may have lost the cause."""
        free = shutil.disk_usage(self.tree.output).free // 2**20
        if free and not suspected:
            return ""
        return f"The disk is full: {self.tree.output} has {free} MiB free. Free space, then run again."

    def _log_lines(self) -> list[str]:
        return self.job.log.read_text(encoding="utf-8", errors="replace").split("\n")

    def _check_artefacts(self, started: float) -> None:
        for name in self.artefacts:
            path = self.tree.output / "images" / name
            if not path.is_file() or not path.stat().st_size:
                raise FailedError(f"make succeeded, but {path} is missing or empty. The log: {self.job.log}")
            # File systems keep coarser times than the clock.
            if path.stat().st_mtime < started - 2:
                raise FailedError(f"make succeeded, but {path} is an old file: a script hid its failure.")
        if self.initramfs:
            try:
                _initramfs.check(self.tree.output / "images" / self.initramfs)
            except _initramfs.InitramfsError as error:
                raise FailedError(str(error)) from error

    def _check_kernel(self, stamp: Mapping[str, Any], packages: Mapping[str, str]) -> None:
        values = stamp["config"]
        if values.get("BR2_LINUX_KERNEL") != "y":
            return
        fragments = stamp["references"].get("BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES", [])
        embedded = values.get("BR2_TARGET_ROOTFS_INITRAMFS") == "y"
        _buildroot_kernel.check(
            self.tree.output / "build" / packages["linux"],
            [Path(path) for path in fragments],
            self.tree.output / "images/rootfs.cpio" if embedded else None,
        )

    def _state(self, name: str) -> list[int] | None:
        try:
            status = (self.tree.output / "images" / name).stat()
        except OSError:
            return None
        return [status.st_size, status.st_mtime_ns]

    def _remember(self, seconds: float) -> None:
        times = read_times(self.tree.output / "build" / "build-time.log")
        known = read_json(self.tree.state / "history.json")
        total = sum(times.values())
        # Only a build that did most of the work tells how steps and wall time relate.
        ratio = seconds / total if total and seconds > total / 4 else known.get("ratio", 1.0)
        merged = {**known.get("seconds", {}), **times}
        write_json(self.tree.state / "history.json", {"seconds": merged, "ratio": ratio})


def _todo(snapshot: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {"snapshot": snapshot, "targets": [], "reasons": [reason]}


def _versions(information: Mapping[str, Any]) -> dict[str, str]:
    """What goes into the images, by package."""
    return {
        name: about["version"]
        for name, about in sorted(information.items())
        if about.get("type") == "target" and about.get("version")
    }


def _build_directories(information: Mapping[str, Any]) -> dict[str, str]:
    """Each package and its directory below build/."""
    return {
        name: Path(about["stamp_dir"]).name
        for name, about in information.items()
        if about.get("type") in ("target", "host")
    }
