# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash cards with this collection and with its peers, side by side.

    make bench-flash

The rows of a table alternate, round by round; the figures are medians. A card
is a loop device over memory, or over a FUSE file that is as slow as a card.

bmaptool uses the block map that it makes itself, which takes all holes for free:
it writes less, and a used card then fails e2fsck. With our map it is correct.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.br2.readonly_rootfs.tests.bench.flash.subjects import (
    Command,
    Images,
    bmaptool,
    bmaptool_and_read_back,
    compress,
    make_images,
    missing,
    ours,
    shell,
)
from ansible_collections.br2.readonly_rootfs.tests.support import cards

MIB = 1 << 20
WRITE, READ = 25e6, 80e6


@dataclass
class Row:
    """One program in one situation."""

    name: str
    commands: Callable[[Sequence[str]], list[Command]]
    once: bool = False
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)


@dataclass
class Table:
    """Rows that are compared with the first one."""

    title: str
    before: Callable[[Path], None]
    rows: list[Row]
    count: int = 1
    slow: bool = False


@contextlib.contextmanager
def devices(files: Sequence[Path], slow: bool) -> Iterator[list[str]]:
    with contextlib.ExitStack() as stack:
        if slow:
            made = [stack.enter_context(cards.faulty(file, wbps=WRITE, rbps=READ)) for file in files]
            yield [card.device for card in made]
        else:
            yield [stack.enter_context(cards.loop(file, "--direct-io=on")) for file in files]


def measure(table: Table, row: Row, files: Sequence[Path]) -> None:
    """One run of a row on freshly prepared cards."""
    for file in files:
        table.before(file)
    with devices(files, table.slow) as names:
        before = [cards.written(name) for name in names]
        used = os.times()
        start = time.monotonic()
        running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in row.commands(names)]
        failed = [process.pid for process in running if process.wait() != 0]
        row.seconds.append(time.monotonic() - start)
        now = os.times()
        row.cpu.append(now.children_user + now.children_system - used.children_user - used.children_system)
        row.written.append(sum(cards.written(name) for name in names) / MIB - sum(before) / MIB)
    if failed:
        raise SystemExit(f"{table.title}, {row.name}: {len(failed)} of {len(running)} programs failed")


def show(table: Table) -> list[str]:
    """A table in Markdown; more than 1 in the last column is faster than the first row."""
    base = statistics.median(table.rows[0].seconds)
    lines = [f"**{table.title}**", "", "| | s | CPU s | MiB written | speed |", "|---|---|---|---|---|"]
    for row in table.rows:
        seconds, cpu, written = (statistics.median(values) for values in (row.seconds, row.cpu, row.written))
        name = f"{row.name} (one run)" if row.once else row.name
        lines.append(f"| {name} | {seconds:.2f} | {cpu:.2f} | {written:.0f} | {base / seconds:.2f} |")
    return [*lines, ""]


def junk(size: int) -> Callable[[Path], None]:
    piece = random.Random(size).randbytes(MIB)

    def make(file: Path) -> None:
        # In place: giving memory back and taking it anew would cost the next program time.
        with file.open("r+b" if file.exists() else "wb") as out:
            out.truncate(size)
            for at in range(0, size, MIB):
                out.write(piece[: min(MIB, size - at)])

    return make


def blank(size: int) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        file.write_bytes(b"")
        os.truncate(file, size)

    return make


def holding(image: Path, size: int) -> Callable[[Path], None]:
    """A card that was flashed with an image before, over junk."""

    fill = junk(size)

    def make(file: Path) -> None:
        fill(file)
        subprocess.run(
            ["bmaptool", "-q", "copy", "--bmap", f"{image}.bmap", str(image), str(file)],
            check=True,
            stderr=subprocess.DEVNULL,
        )

    return make


def peers(image: Path) -> list[Row]:
    return [
        Row("bmaptool", lambda to: bmaptool(image, to)),
        Row("ours, no verification", lambda to: ours(image, to, "none")),
        Row("ours, full verification", lambda to: ours(image, to, "full")),
    ]


def correct(image: Path) -> Row:
    return Row("bmaptool, our block map", lambda to: bmaptool(image, to, ".bmap"))


def fast_tables(made: Images, size: int) -> Iterator[Table]:
    image = made.plain
    yield Table(
        "Fast medium (loop on memory), junk card",
        junk(size),
        [
            *peers(image),
            correct(image),
            Row("dd bs=4M conv=fsync", lambda to: shell("dd if=IMAGE of=CARD bs=4M conv=fsync", image, to)),
            Row(
                "dd bs=4M oflag=direct", lambda to: shell("dd if=IMAGE of=CARD bs=4M oflag=direct", image, to)
            ),
            Row(
                "cp --sparse=always",
                lambda to: shell("cp --sparse=always IMAGE CARD && sync CARD", image, to),
            ),
        ],
    )
    yield Table("Fast medium, same image", holding(image, size), peers(image))
    for kind in ("zst", "gz", "xz"):
        packed = compress(image, kind)
        yield Table(f"Fast medium, .{kind}, junk card", junk(size), peers(packed))


def slow_tables(made: Images, size: int) -> Iterator[Table]:
    image = made.plain
    read_back = Row("bmaptool and read back", lambda to: bmaptool_and_read_back(image, to))
    direct = "dd if=IMAGE of=CARD bs=4M oflag=direct"
    yield Table(
        "Card of 25/80 MB/s, blank",
        blank(size),
        [*peers(image), read_back, Row("dd oflag=direct", lambda to: shell(direct, image, to), once=True)],
        slow=True,
    )
    read_back = Row("bmaptool and read back", lambda to: bmaptool_and_read_back(image, to))
    yield Table("Card of 25/80 MB/s, junk", junk(size), [*peers(image), read_back, correct(image)], slow=True)
    yield Table("Card of 25/80 MB/s, same image", holding(image, size), peers(image)[:2], slow=True)
    rsync = "rsync --inplace --write-devices --no-whole-file --block-size=65536 IMAGE CARD && sync CARD"
    small = made.small_change
    yield Table(
        "Card of 25/80 MB/s, 3 MiB changed in place",
        holding(image, size),
        [
            *peers(small),
            Row("ours, written verified", lambda to: ours(small, to, "written")),
            Row("rsync --write-devices", lambda to: shell(rsync, small, to), once=True),
        ],
        slow=True,
    )
    shifted = made.shifted
    yield Table(
        "Card of 25/80 MB/s, one file 100 KiB longer",
        holding(image, size),
        [*peers(shifted), Row("ours, written verified", lambda to: ours(shifted, to, "written"))],
        slow=True,
    )


def eight_tables(made: Images, size: int) -> Iterator[Table]:
    for kind in ("zst", "xz"):
        packed = compress(made.plain, kind)
        yield Table(
            f"Eight cards of 25/80 MB/s, .{kind}, junk", junk(size), peers(packed), count=8, slow=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=int, default=150, help="MiB of files in the image")
    parser.add_argument("--partition", type=int, default=512, help="MiB of each of the two partitions")
    parser.add_argument("--tables", default="fast,slow,eight")
    parser.add_argument("--only", default="", help="tables whose title has this text")
    parser.add_argument("--output", type=Path, default=Path("tests/reports/bench-flash.json"))
    options = parser.parse_args()
    lacking = cards.missing() or ", ".join(missing())
    if lacking:
        sys.exit(f"cannot compare here: {lacking}")
    kinds = {"fast": fast_tables, "slow": slow_tables, "eight": eight_tables}
    # In memory, so that no disk of this machine is measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-flash-") as name:
        directory = Path(name)
        # Installed programs come compiled: so does this one, without leaving anything in the checkout.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")
        made = make_images(directory, options.data, options.partition)
        size = made.plain.stat().st_size + 16 * MIB
        results = []
        for kind in options.tables.split(","):
            for table in kinds[kind](made, size):
                if options.only not in table.title:
                    continue
                files = [directory / f"card{number}" for number in range(table.count)]
                for turn in range(options.rounds):
                    for row in table.rows:
                        if turn == 0 or not row.once:
                            measure(table, row, files)
                print("\n".join(show(table)), flush=True)
                results.append({"title": table.title, "rows": [_figures(row) for row in table.rows]})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")


def _figures(row: Row) -> dict[str, object]:
    return {"name": row.name, "seconds": row.seconds, "cpu": row.cpu, "written_mib": row.written}


if __name__ == "__main__":
    main()
