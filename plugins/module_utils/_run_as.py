# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work done by another user, without a second connection and without sudo on the build host."""

from __future__ import annotations

import json
import os
import pwd
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError


def run_as(user: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `work`, done by `user` when this process is root's, else by whoever it is."""
    if os.geteuid() != 0:
        try:
            return work()
        except OSError as error:
            raise BuildrootError(str(error)) from error
    account = _account(user)
    # Ansible goes on to read its own files as root afterwards: only a child may give root up.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _child(account, work, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise BuildrootError(f"The process of user {user} died.")
    told: dict[str, Any] = json.loads(answer)
    if "error" in told:
        raise BuildrootError(told["error"], **told["details"])
    result: dict[str, Any] = told["result"]
    return result


def _account(user: str) -> pwd.struct_passwd:
    if not user:
        raise BuildrootError(
            "Buildroot must not be built as root, a package's install step could write to the build host: "
            "name an unprivileged `user`."
        )
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise BuildrootError(f"There is no user {user}: the playbook provision.yml creates it.") from error
    if account.pw_uid == 0:
        raise BuildrootError(f"User {user} is root: name an unprivileged `user`.")
    return account


def _child(account: pwd.struct_passwd, work: Callable[[], dict[str, Any]], write: int) -> None:
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
        os.chdir("/")
        told: dict[str, Any] = {"result": work()}
    except BuildrootError as error:
        told = {"error": str(error), "details": error.details}
    except OSError as error:
        told = {"error": f"User {account.pw_name}: {_closed(error) or error}", "details": {}}
    except BaseException:
        told = {"error": traceback.format_exc(), "details": {}}
    with os.fdopen(write, "wb") as pipe:
        pipe.write(json.dumps(told).encode())
    os._exit(0)


def _closed(error: OSError) -> str:
    """Which directory keeps this user out, if one does; root's home is the usual one."""
    if not isinstance(error, PermissionError) or not error.filename:
        return ""
    for directory in reversed(Path(os.fsdecode(error.filename)).parents):
        if not os.access(directory, os.X_OK):
            return (
                f"it cannot enter {directory}, which {error.filename} is in. Work where the user that builds "
                "can read, or have another one build."
            )
    return ""
