# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx: the pages in Markdown as they are, the modules and roles as antsibull-docs writes them."""

from __future__ import annotations

project = title = html_short_title = "br2.readonly_rootfs"
copyright = "the br2.readonly_rootfs contributors"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_index = False
html_copy_source = False
highlight_language = "YAML+Jinja"
pygments_style = "ansible"
myst_heading_anchors = 4
# Blocks without a language are of any kind. Labels of Ansible's own documentation would
# need the network; those of this collection are looked up by `make lint-docs`.
suppress_warnings = ["misc.highlighting_failure", "ref.ref"]
