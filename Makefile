# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Ansible insists on UTF-8, which a bare machine does not have set.
export LC_ALL := C.UTF-8
export PYTHONDONTWRITEBYTECODE := 1
# Into a pipe Ansible writes by blocks, and progress would come when all is over.
export PYTHONUNBUFFERED := 1
export ANSIBLE_LOCALHOST_WARNING := false
export ANSIBLE_INVENTORY_UNPARSED_WARNING := false

package := ansible_collections.br2.readonly_rootfs
lint_fast := lint-ruff+lint-mypy+lint-yaml+lint-ansible+lint-shell+lint-spelling+lint-licences

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: venv
venv: ## make .venv what requirements.txt says
	@.ci/venv

.PHONY: provision
provision: venv ## install what builds and tests need; the only step that wants root
	@.ci/become ansible-playbook playbooks/provision.yml -e @tests/provision.yml

.PHONY: demo
demo: venv ## build an image and boot it in QEMU
	@.ci/become ansible-playbook playbooks/demo.yml
	@echo "end it:          make demo-stop"

.PHONY: demo-stop
demo-stop: venv ## end the demo and remove its guest
	@ansible-playbook playbooks/vm.yml -e vm_name=demo -e vm_state=absent

.PHONY: images
images: venv ## build the images that the tests boot
	@ansible-playbook molecule/resources/images.yml molecule/resources/systemd_images.yml

.PHONY: test
test: venv ## all tests, and one summary at the end
	@.ci/stages provision!+lint-fast test-host+images+test-unit test-boot+lint-docs+lint-galaxy+test-collection \
		test-molecule+lint-sanity-2.19+test-integration-2.19

.PHONY: lint
lint: venv ## all static checks, each ansible-core whose Python is here included
	@.ci/stages $(lint_fast)+lint-docs+lint-galaxy lint-sanity-2.19+lint-sanity-2.20 lint-sanity-2.21

.PHONY: lint-fast
lint-fast: venv ## those that need nothing but .venv, side by side
	@.ci/stages $(lint_fast)

.PHONY: lint-ruff lint-mypy lint-yaml lint-ansible lint-shell lint-spelling lint-licences
lint-ruff:
	@ruff check --output-format concise
	@ruff format --check
lint-mypy:
	@mypy -p $(package).plugins -p $(package).tests -p $(package).molecule
lint-yaml:
	@yamllint --strict .
lint-ansible:
	@ansible-lint --offline
lint-shell:
	@shellcheck files/device/*.sh $$(git ls-files -z | xargs -0 awk 'FNR == 1 && /^#!.*sh$$/ {print FILENAME} {nextfile}' 2>/dev/null)
lint-spelling:
	@git grep -zIl '' | xargs -0 codespell
lint-licences:
	@git ls-files -z | xargs -0 reuse lint-file --lines

.PHONY: lint-docs lint-galaxy
lint-docs:
	@.ci/docs
	@.ci/tool docs antsibull-changelog lint
	@.ci/tool docs antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs dependent .
lint-galaxy:
	@.ci/galaxy
lint-sanity-%:
	@.ci/ansible-test $* sanity || [ $$? = 77 ]

.PHONY: test-unit
test-unit: venv ## unit tests: no network, no root
	@pytest -n auto tests/unit

.PHONY: test-ansible
test-ansible: ## ansible-test units and integration, with each ansible-core whose Python is here
	@.ci/stages test-units-2.19 test-integration-2.19+test-integration-2.20+test-integration-2.21 test-units-2.20 test-units-2.21
test-units-%:
	@.ci/ansible-test $* units || [ $$? = 77 ]
test-integration-%:
	@.ci/ansible-test $* integration || [ $$? = 77 ]

.PHONY: test-host
test-host: venv ## tests with real block devices, mounts and processes; most want root
	@pytest -n 2 --dist worksteal tests/build tests/buildroot tests/device tests/flash

.PHONY: test-buildroot
test-buildroot: venv ## every board and variant against Buildroot's own Kconfig, where Buildroot is there
	@pytest -n 2 -rs tests/buildroot/test_upstream.py

.PHONY: test-flash
test-flash: venv ## flash cards that misbehave; needs root, loop devices and FUSE
	@pytest -n 2 tests/flash

.PHONY: test-boot
test-boot: venv ## boot in QEMU: faults, power cuts, and QEMU itself; BR2_IMAGES names other images
	@BR2_IMAGES=$${BR2_IMAGES:-output/source/qemu_x86_64/images} pytest -n 3 --dist worksteal tests/boot tests/qemu

.PHONY: test-molecule
test-molecule: venv ## boot whole images in QEMU, judged over ssh; BR2_IMAGES names other images
	@molecule test --no-command-borders --all --workers 3 --continue-on-failure

.PHONY: test-collection
test-collection: venv ## the collection as installed: documented, built with, flashed, run by ansible-runner
	@pytest -n 0 tests/collection

.PHONY: docs
docs: ## the documentation as a site, in output/docs/html
	@.ci/docs
	@echo $(CURDIR)/output/docs/html/index.html

.PHONY: bench-flash
bench-flash: venv ## figures: flashing against its peers; needs root
	@PYTHONPATH=.collections python tests/bench/flash/run.py

.PHONY: bench
bench: venv ## figures: how long things take
	@pytest -s tests/bench

.PHONY: clean
clean: ## remove what was built here; the cache in the home directory stays
	@rm -rf output tests/output .venv .ansible .mypy_cache .pytest_cache .ruff_cache
