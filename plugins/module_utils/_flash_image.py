# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open an image, raw or compressed, and prove it whole before any card is written."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ._bmap import Bmap, BmapError, check_image, digests, pieces, read_bmap
from ._flash_errors import FlashError
from ._flash_tools import run_tool
from ._flash_unpack import open_unpacked
from ._image_filesystems import identify
from ._image_map import ImageMap, map_fd, with_mapped

_PIECE = 1 << 20


@dataclass(frozen=True)
class Image:
    """An open image; the file behind C(fd) is raw.

    It is being proven whole while the cards are looked at. Nothing may be written before prove() returns.
    """

    fd: int
    name: str
    compression: str
    mapping: ImageMap
    proof: Future[str]
    written: int

    @property
    def size(self) -> int:
        return self.mapping.size

    @property
    def id(self) -> str:
        """Stands for the contents."""
        return self.proof.result()

    def prove(self) -> None:
        """Wait until the contents are known to be whole; raise FlashError if not, or if they changed."""
        self.proof.result()
        _require_same(self.fd, self.written, self.name)

    def close(self) -> None:
        wait([self.proof])
        os.close(self.fd)


def open_image(
    path: Path,
    cache: Path,
    checksum: str = "",
    bmap: Path | None = None,
    signature: Path | None = None,
    keyring: Path | None = None,
) -> Image:
    """Check and open an image file; a compressed one is unpacked once, into a file without a name."""
    name = path.name
    try:
        with path.open("rb") as given:
            # What is checked is what is flashed, whatever takes the file's name meanwhile.
            held = Path(f"/proc/{os.getpid()}/fd/{given.fileno()}")
            written = os.fstat(given.fileno()).st_mtime_ns
            digest = check_sum(held, checksum, name) if checksum else ""
            if signature and keyring:
                check_signature(held, signature, keyring, name)
            fd, compression = open_unpacked(held, cache, name)
            _require_same(given.fileno(), written, name)
            written = os.fstat(fd).st_mtime_ns
    except OSError as error:
        raise _unreadable(str(path), error) from error
    try:
        mapping = map_fd(fd, os.fstat(fd).st_size)
        _require_whole(fd, mapping, name)
        blocks = read_bmap(bmap) if bmap is not None else None
        if blocks is not None:
            mapping = with_mapped(mapping, fd, blocks.mapped())
    except BmapError as error:
        raise FlashError("image", str(error)) from error
    except OSError as error:
        raise _unreadable(name, error) from error
    pool = ThreadPoolExecutor(1)
    proof = pool.submit(_prove, fd, name, mapping, blocks, digest)
    pool.shutdown(wait=False)
    return Image(fd, name, compression, mapping, proof, written)


def _require_same(fd: int, written: int, name: str) -> None:
    if os.fstat(fd).st_mtime_ns != written:
        raise FlashError("image", f"{name}: was written to while it was in use")


def _require_whole(fd: int, mapping: ImageMap, name: str) -> None:
    """Nothing else tells of a raw image that its end is missing."""
    for volume in mapping.volumes:
        part = volume.partition
        found = volume.filesystem or identify(fd, part.start, part.size, free=False)
        # A partition may be larger than the file if its file system is not.
        end = part.start + found.size if found else part.end
        if end > mapping.size:
            where = f"partition {part.number}" if part.number else "the file system"
            raise FlashError(
                "image", f"{name}: is cut off: {where} ends at byte {end}, the file at {mapping.size}"
            )


def _prove(fd: int, name: str, mapping: ImageMap, blocks: Bmap | None, digest: str) -> str:
    """Check the contents against the block map, if there is one; returns what stands for them."""
    try:
        if blocks is not None:
            check_image(fd, mapping.size, blocks, name)
            if all(summed for _start, _end, summed in blocks.ranges):
                return digest or _id_of(blocks)
        return digest or _own_id(fd, mapping)
    except BmapError as error:
        raise FlashError("image", str(error)) from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> FlashError:
    return FlashError("image", f"{name}: cannot be read ({error})", error=error.errno)


def neighbour(path: Path) -> Path | None:
    """The block map that lies beside an image, named after it with or without its compression."""
    for name in (path, path.with_suffix("")):
        bmap = name.with_name(f"{name.name}.bmap")
        if bmap.is_file():
            return bmap
    return None


def check_sum(path: Path, checksum: str, name: str) -> str:
    """Compare a file with C(algorithm:hex); returns that, in lower case."""
    kind, _unused, wanted = checksum.lower().rpartition(":")
    kind = kind or "sha256"
    if kind not in ("sha256", "sha384", "sha512"):
        raise FlashError(
            "image", f"checksum {checksum!r} is not of the form sha256:HEX, sha384:HEX or sha512:HEX"
        )
    total = hashlib.new(kind)
    try:
        with path.open("rb") as given:
            while piece := given.read(_PIECE):
                total.update(piece)
    except OSError as error:
        raise _unreadable(name, error) from error
    if total.hexdigest() != wanted:
        raise FlashError("image", f"{name}: {kind} is {total.hexdigest()}, expected {wanted}")
    return f"{kind}:{wanted}"


def check_signature(path: Path, signature: Path, keyring: Path, name: str) -> None:
    """Require a detached OpenPGP signature by a key of the keyring that is neither expired nor revoked."""
    ran = run_tool(["gpgv", "--status-fd", "1", "--keyring", str(keyring), str(signature), str(path)])
    # Content with a key of the past, gpgv only calls its signature something else.
    if ran.returncode or "[GNUPG:] GOODSIG " not in ran.stdout:
        said = ran.stderr.strip().splitlines() if ran.returncode else ["its key is expired or revoked"]
        raise FlashError(
            "image", f"{name}: its signature is not valid ({said[-1] if said else 'gpgv failed'})"
        )


def _id_of(bmap: Bmap) -> str:
    total = hashlib.sha256(repr(bmap.ranges).encode())
    return f"map:{total.hexdigest()}"


def _own_id(fd: int, mapping: ImageMap) -> str:
    ranges = pieces(mapping)
    sums = tuple((start, end, digest) for (start, end), digest in zip(ranges, digests(fd, ranges)))
    return _id_of(Bmap(mapping.size, "sha256", sums))
