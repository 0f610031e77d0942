# The one way in: `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A deployment runs on arm64. Programs for this machine (`make demo`, `make test`) are built for it: ARCH=host.
ARCH      ?= arm64
# Packages for this machine never lie in the folder of a deployment.
PACKAGES  = target/lambda/$(ARCH)
HOST      := target/lambda/host
FUNCTIONS := $(notdir $(wildcard functions/*))
VENV      := target/demo/venv
# 3.11 or newer.
PYTHON    ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2> /dev/null)) python3.11)
DENY_VERSION := 0.20.2
# The name that cargo-deny gives to its copy of https://github.com/RustSec/advisory-db
ADVISORY_DB := advisory-db-3157b0e258782691
DENY      := target/tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
CYCLONEDX_VERSION := 0.5.9
CYCLONEDX := target/tools/cargo-cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
FUZZ_VERSION := 0.13.2
FUZZ      := target/tools/cargo-fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
MUTANTS_VERSION := 27.1.0
MUTANTS   := target/tools/cargo-mutants-$(MUTANTS_VERSION)/bin/cargo-mutants
INFRA_VENV := target/infra/venv
LINT_VENV := target/lint/venv
PLAN      := target/infra/plan
# No package names a folder of this machine: the same commit and compiler give the same bytes anywhere.
# A list, which cargo-lambda adds the processors of Lambda to; a variable of the environment would take them away.
NO_PLACES = --config 'build.rustflags=["--remap-path-prefix=$(CURDIR)=/ecr-guard", "--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo", $(NO_TABLES)]'
# No program has tables for unwinding. Those that run here are linked as those of a release.
NO_TABLES = "-Clink-arg=-Wl,-T,.cargo/link.ld"
LINKED    = --config 'build.rustflags=[$(NO_TABLES)]'
# cargo-lambda has rustup download a missing library for ARCH, unless SKIP says that somebody has looked.
FOR_ARCH  = $(SKIP) $(if $(filter arm64,$(ARCH)),--arm64) $(if $(filter x86_64,$(ARCH)),--x86-64)

# BUILD=0 runs what is built already. Only 1 and yes mean yes: KEEP=0 keeps nothing.
BUILT     = $(if $(filter 0 no,$(BUILD)),true,$(MAKE) --no-print-directory package-host)
# The command line, for a run on this machine: the build that its tests make anyway.
CLI_BUILT = $(if $(filter 0 no,$(BUILD)),true,cargo build --quiet --locked -p ecr-guard-cli)
KEPT      = $(if $(filter 1 yes,$(KEEP)),--keep)
NAMES     = $(if $(ONLY),--only $(patsubst %,'%',$(ONLY)))
DOCTOR    = command -v $(PYTHON) > /dev/null || { echo "MISSING  Python 3.11 or newer → https://www.python.org/downloads/, or your system's packages"; exit 2; }; \
            $(PYTHON) -B tests/local/doctor.py
# Missing tools are named first, in plain words and not in those of make.
READY     = $(DOCTOR) --demo $(if $(filter 0 no,$(BUILD)),--built)
TRY       := $(VENV)/bin/python -B tests/local/trying.py

export CARGO_TERM_COLOR ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# cargo-lambda and zig come out of the virtual environment.
WITH_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: help
help: ## This list; `make demo` is a good beginning
	@awk '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9-]*:.*## / { split($$0, parts, ":"); text = $$0; sub(/^[^#]*## /, "", text); gsub(/[$$][$$]/, "$$", text); \
	    printf "  make %-17s %s\n", parts[1], text }' $(firstword $(MAKEFILE_LIST))

##@ See it work

.PHONY: demo
demo: ready $(VENV)/.ready ## A story of three teams, with the real functions on this machine (KEEP=1 leaves it running, to be tried)
	@$(VENV)/bin/python -B tests/local/demo.py --check $(NAMES)
	@$(BUILT)
	@$(CLI_BUILT)
	@$(VENV)/bin/python -B tests/local/demo.py $(KEPT) $(NAMES)

.PHONY: try-push
try-push: $(VENV)/.ready ## In a kept demo: push an image with a finding (IMAGE=my/app:1.0 FINDING=CRITICAL)
	@$(TRY) push $(if $(IMAGE),--image '$(IMAGE)') $(if $(FINDING),--finding '$(FINDING)')

.PHONY: try-exception
try-exception: $(VENV)/.ready ## In a kept demo: except what blocks an image (IMAGE=my/app:1.0)
	@$(TRY) exception $(if $(IMAGE),--image '$(IMAGE)')

.PHONY: try-sweep
try-sweep: $(VENV)/.ready ## In a kept demo: the hourly sweep, now
	@$(TRY) sweep

.PHONY: demo-env
demo-env: ## In a kept demo: the variables for the AWS CLI: eval "$$(make -s demo-env)"
	@$(TRY) env

.PHONY: demo-stop
demo-stop: $(VENV)/.ready ## End what `make demo KEEP=1` or `make e2e KEEP=1` left running
	@$(VENV)/bin/python -B tests/local/demo.py --stop

.PHONY: doctor
doctor: ## What is missing on this machine, where to get it, and which command needs it
	@$(DOCTOR)

.PHONY: emulator
emulator: $(VENV)/.ready ## Start the emulated AWS account alone, and say how to ask it (Ctrl-C ends it)
	@$(VENV)/bin/python -B -m local_aws

##@ Check it

STEPS     := fmt-check lint deny unit mutants-check doc test-local e2e load-check demo-check report-check size counts infra arm64-check

.PHONY: test
test: ## Everything that CI checks, in this order, with the time of each step and what target/ holds after it
	@mkdir -p target; steps=""; for step in $(STEPS); do began=$$SECONDS; code=0; \
	  $(MAKE) --no-print-directory $$step || code=$$?; \
	  steps+="$$(printf '%-12s %5d s %6d MiB' $$step $$((SECONDS - began)) $$(du -sm target | cut -f1))"$$'\n'; \
	  if test $$code != 0; then printf '\n%s%s failed\n' "$$steps" $$step; exit $$code; fi; done; \
	printf '\n%-12s %7s %10s\n%s' step time target/ "$$steps"

.PHONY: unit
unit: ## Tests that need neither emulators nor network
	cargo test --workspace --locked

.PHONY: core
core: ## Tests of the pure core alone: no AWS crate is built
	cargo test -p guard-core --locked

.PHONY: structure
structure: ## Long functions and signatures, circles between files: what the snapshot says of the code
	@sed -n '/^---$$/,$$p' tests/it/snapshots/it__structure__the_shape_of_the_code.snap | sed 1,1d

.PHONY: language
language: ## Words of a sentence on each page; words that docs/glossary.md rules out
	cargo test -p tests --test it --locked -- language --nocapture --test-threads 1

.PHONY: test-local
test-local: $(VENV)/.ready ## Tests of the emulator, and of what the local run makes of it
	$(VENV)/bin/python -B -m unittest discover -s tests/emulator/tests
	$(VENV)/bin/python -B -m unittest discover -s tests/local

.PHONY: e2e
e2e: ready $(VENV)/.ready ## All scenarios on local emulators, two minutes (ONLY="names groups role-of-*", KEEP=1, BUILD=0 takes what is built)
	@$(VENV)/bin/python -B tests/local/e2e.py --check $(NAMES)
	@$(BUILT)
	@$(CLI_BUILT)
	@$(VENV)/bin/python -B tests/local/e2e.py $(KEPT) $(NAMES)

.PHONY: load
load: ready $(VENV)/.ready ## A burst of events for the real functions, whose processes are killed while they work (EVENTS=10000 SEED=1; minutes)
	@$(BUILT)
	@$(VENV)/bin/python -B tests/local/load.py --events $(or $(EVENTS),10000) --seed $(or $(SEED),1)

# A small burst, some ten seconds.
.PHONY: load-check
load-check: $(VENV)/.ready
	@$(BUILT)
	@$(VENV)/bin/python -B tests/local/load.py --events 500 --seed 1 --directory target/load/check

.PHONY: e2e-list
e2e-list: $(VENV)/.ready ## The scenarios, by group
	@$(VENV)/bin/python -B tests/local/e2e.py --list

.PHONY: ready
ready:
	@$(READY)

# The demo as a check: in a directory of its own, so that one that is kept stays as it is.
.PHONY: demo-check
demo-check: $(VENV)/.ready
	@$(BUILT)
	@$(CLI_BUILT)
	@$(VENV)/bin/python -B tests/local/demo.py --directory target/demo/check

.PHONY: report-check
report-check: $(VENV)/.ready ## Check a report: the page in a headless Chromium, SARIF by its schema
	@$(CLI_BUILT)
	@$(VENV)/bin/python -B tests/local/report_check.py

.PHONY: upgrade-test
upgrade-test: $(VENV)/.ready ## Run an earlier version, then this one, then the earlier one again, on the same ledger, queue, registry (FROM=commit; minutes)
	$(VENV)/bin/python -B tests/local/upgrade.py $(if $(FROM),--from $(FROM))

.PHONY: aws-contract
aws-contract: $(VENV)/.ready ## Ask AWS what we take it to do (AWS_PROFILE=…; ARGS=--help); prints a table, deletes what it made
	@test -n "$${AWS_PROFILE:-}" || { echo "AWS_PROFILE=… says whose ECR is asked; tests/contract/README.md says what it does there"; exit 2; }
	$(VENV)/bin/python -B tests/contract/aws.py $(ARGS)

.PHONY: infra
infra: $(INFRA_VENV)/.ready ## Check the infrastructure: format, validity, tests, README tables, checkov
	$(INFRA_VENV)/bin/python -B -m unittest discover -s tests/infra
	$(PYTHON) -B -m unittest discover -s infra/modules -p readme_test.py
	$(PYTHON) -B tests/infra/check.py --checkov $(INFRA_VENV)/bin/checkov

.PHONY: infra-minimum
infra-minimum: ## Validate the infrastructure with the least versions of the providers that it says it works with
	$(PYTHON) -B tests/infra/check.py --minimum

.PHONY: infra-mistakes
infra-mistakes: ## Plant mistakes in the infrastructure, and see that tests find them (minutes)
	$(PYTHON) -B tests/infra/check.py --mistakes

.PHONY: arm64-check
arm64-check: $(VENV)/.ready ## Build functions for arm64, and have each answer an event there (FUNCTIONS="on-scan gate"; INSTALL=1 as root fetches what is missing)
	@$(WITH_VENV) $(VENV)/bin/python -B tests/infra/arm64.py $(if $(filter 1 yes,$(INSTALL)),--install) $(LINKED) $(FUNCTIONS)

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check: ## Check the format
	cargo fmt --all --check

.PHONY: lint
lint: lint-python lint-pipelines ## Clippy, ruff, mypy, shellcheck, zizmor: warnings are errors
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

.PHONY: lint-python
lint-python: $(VENV)/.ready $(LINT_VENV)/.ready ## Ruff and mypy on all Python of the project (pyproject.toml)
	$(LINT_VENV)/bin/ruff check tests infra
	$(LINT_VENV)/bin/mypy --python-executable $(VENV)/bin/python tests infra

.PHONY: lint-pipelines
lint-pipelines: $(LINT_VENV)/.ready ## Shellcheck, GitHub's schemas and zizmor on scripts, the action and workflows, also those of the pages
	$(PYTHON) -B tests/lint/pipelines.py --tools $(LINT_VENV)/bin

.PHONY: doc
doc: ## Build the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked --document-private-items

.PHONY: deny
deny: $(DENY) ## Licences, bans and sources of dependencies; known vulnerabilities where their list can be reached
	$(DENY) --log-level error check bans licenses sources
	@if timeout 20 git ls-remote --exit-code --quiet https://github.com/RustSec/advisory-db HEAD > /dev/null 2>&1; then \
	  $(DENY) --log-level error check advisories; \
	else echo "NOT CHECKED: known vulnerabilities, since github.com cannot be reached (make advisories DB=folder takes a copy)"; fi

.PHONY: advisories
advisories: $(DENY) ## Known vulnerabilities by a copy of the RustSec database: DB=folder (a clone of https://github.com/RustSec/advisory-db)
	@test -d "$(DB)/crates" || { echo "DB=folder is a clone of https://github.com/RustSec/advisory-db"; exit 2; }
	@rm -rf target/advisories && mkdir -p target/advisories
	@git clone --quiet "$(DB)" target/advisories/$(ADVISORY_DB)
	@sed 's|^\[advisories\]$$|&\ndb-path = "$(CURDIR)/target/advisories"|' deny.toml > target/advisories/deny.toml
	$(DENY) --log-level error --offline --config target/advisories/deny.toml check advisories
	@echo "checked against the database of $$(git -C "$(DB)" log -1 --format=%cs)"

.PHONY: prove
prove: ## Run the explorers of interleavings with COUNT=1000000 scenarios, and print a table (ONLY=families SEED=17 repeats one)
	$(PYTHON) -B tests/proof/prove.py --count $(or $(COUNT),1000000) $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))

.PHONY: fuzz
fuzz: ## Run the inputs from outside under libFuzzer, and print a table (SECONDS=60 for each TARGET="policy gate-request"; nightly Rust)
	@$(MAKE) --no-print-directory $(FUZZ) || echo "NOT CHECKED: inputs by a fuzzer, since cargo-fuzz cannot be had"
	$(PYTHON) -B tests/proof/fuzz.py --cargo-fuzz $(FUZZ) --seconds $(or $(SECONDS),60) $(patsubst %,--target %,$(TARGET))

.PHONY: mutants
mutants: $(MUTANTS) ## Change the rules in one place after the other, and see that tests of the core find it (CRATE=engine or aws, FILES=…, SHARD=k/n, SAMPLE=60)
	$(PYTHON) -B tests/proof/mutants.py --cargo-mutants $(MUTANTS) $(if $(CRATE),--crate $(CRATE)) $(if $(FILES),--files $(FILES)) \
	  $(if $(SHARD),--shard $(SHARD)) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(filter 1 yes,$(UPDATE)),--update)

.PHONY: mutants-changed
mutants-changed: $(MUTANTS) ## The same for the lines that are changed since BASE=main
	$(PYTHON) -B tests/proof/mutants.py --cargo-mutants $(MUTANTS) $(if $(CRATE),--crate $(CRATE)) --changed-since $(or $(BASE),main)

.PHONY: mutants-check
mutants-check: ## The same for changed lines and a sample of 60, another one for each commit
	@$(MAKE) --no-print-directory $(MUTANTS) || echo "NOT CHECKED: mutants, since cargo-mutants cannot be had"
	@test ! -x $(MUTANTS) || $(PYTHON) -B tests/proof/mutants.py --cargo-mutants $(MUTANTS) --with-switch-only --sample 60 --least 95 \
	  --changed-since $(or $(BASE),$$(git rev-parse --quiet --verify --abbrev-ref origin/main || echo main))

.PHONY: update
update: ## Rewrite the checked-in files that tests compare: schema, call counts, snapshots
	ECR_GUARD_UPDATE=1 INSTA_UPDATE=always cargo test --workspace --locked

.PHONY: update-scale
update-scale: ## Simulate registries of up to a million images, and rewrite docs/work-at-scale.md (some minutes, after an optimized build)
	CARGO_PROFILE_DEV_OPT_LEVEL=2 ECR_GUARD_UPDATE=scale cargo test --locked --target-dir target/scale -p guard-lambda --lib \
	  nothing_is_lost_at_any_scale -- --nocapture | grep -aE '^(\||most memory|test result)'

.PHONY: bench
bench: $(VENV)/.ready ## Figures of docs/performance.md as measured: on-scan next to boto3 and a bare program, zips; the pure core (minutes; CORE=0 leaves it out)
	@$(BUILT)
	@$(WITH_VENV) cargo lambda build --quiet --release --locked $(LINKED) --output-format zip --lambda-dir $(HOST) -p guard-aws --example bare
	@$(VENV)/bin/python -B tests/bench/bench.py $(if $(filter 1 yes,$(UPDATE)),--update)
	@$(if $(filter 0 no,$(CORE)),true,cargo bench -p shared --features testing --bench core)

.PHONY: counts
counts: $(VENV)/.ready ## Instructions, memory and calls of on-scan, against the checked-in budget (needs valgrind)
	@$(BUILT)
	@$(VENV)/bin/python -B tests/bench/bench.py --check

##@ Build it

.PHONY: package
package: $(VENV)/.ready ## Build the zips of all functions into target/lambda/ARCH (ARCH=arm64, x86_64 or host)
	$(WITH_VENV) cargo lambda build --release --locked $(NO_PLACES) --output-format zip --lambda-dir $(PACKAGES) \
	  $(patsubst %,--bin %,$(FUNCTIONS)) $(FOR_ARCH)
	$(VENV)/bin/python -B tests/infra/packages.py $(PACKAGES)

# Without the optimizations of cargo-lambda, which are for the processors of Lambda: this runs on any. Those of Cargo.toml are made.
.PHONY: command-line
command-line: $(VENV)/.ready ## Build the command line for Linux into target/command-line/ARCH (ARCH=arm64 or x86_64)
	$(WITH_VENV) cargo lambda build --release --locked --disable-optimizations $(NO_PLACES) --lambda-dir target/command-line/$(ARCH) \
	  --bin ecr-guard $(FOR_ARCH)

.PHONY: package-host
package-host: $(VENV)/.ready
	@$(WITH_VENV) $(VENV)/bin/python -B tests/local/building.py --lambda-directory $(HOST) $(LINKED) $(FUNCTIONS)
	@$(PYTHON) -B tests/infra/packages.py --as-they-are $(HOST) > /dev/null

.PHONY: size
size: $(VENV)/.ready ## Size of each function's binary and zip, against the checked-in budget
	$(VENV)/bin/python -B tests/local/size.py

##@ Release it (CONTRIBUTING.md)

.PHONY: release-prepare
release-prepare: ## Write the version into Cargo.toml and CHANGELOG.md, to be committed (VERSION=1.4.0)
	@$(PYTHON) -B tests/infra/release.py prepare '$(VERSION)'

.PHONY: release
release: ## Build target/release-VERSION: packages, command line, modules, bills of materials, notes, checksums (VERSION=1.4.0)
	@$(PYTHON) -B tests/infra/release.py check '$(VERSION)'
	@$(MAKE) --no-print-directory --silent $(VENV)/.ready $(CYCLONEDX)
	@for arch in arm64 x86_64; do $(MAKE) --no-print-directory package command-line ARCH=$$arch SKIP=--skip-target-check; done
	@PATH="$(CURDIR)/$(dir $(CYCLONEDX)):$$PATH" $(PYTHON) -B tests/infra/release.py bills
	@$(WITH_VENV) $(VENV)/bin/python -B tests/infra/release.py write '$(VERSION)' 'target/release-$(VERSION)'

# In a clone, which lies elsewhere: a place of the first build would be another here.
.PHONY: release-check
release-check: $(VENV)/.ready ## Build target/release-VERSION once more, in a clone, and compare all bytes (VERSION=1.4.0)
	@test -f 'target/release-$(VERSION)/SHA256SUMS' || { echo "There is no target/release-$(VERSION): make release VERSION=$(VERSION)"; exit 2; }
	@rm -rf target/release-check && git clone --quiet . target/release-check && mkdir -p target/release-check/target
	@ln -s '$(CURDIR)/target/demo' '$(CURDIR)/target/tools' target/release-check/target/ && touch $(VENV)/.ready
	@if test -f infra/.terraform.lock.hcl; then cp infra/.terraform.lock.hcl target/release-check/infra/; fi
	@$(MAKE) --no-print-directory -C target/release-check release 'VERSION=$(VERSION)'
	@$(PYTHON) -B tests/infra/release.py compare 'target/release-$(VERSION)' 'target/release-check/target/release-$(VERSION)'
	@rm -rf target/release-check

.PHONY: release-crates
release-crates: ## Compare the bills of materials of two releases: crates added, removed, changed (OLD=folder NEW=target/release-1.4.0)
	@test -d '$(OLD)' && test -d '$(NEW)' || { echo "OLD and NEW are the folders of two releases: make release-crates OLD=… NEW=…"; exit 2; }
	@$(PYTHON) -B tests/infra/release.py crates '$(OLD)' '$(NEW)'

##@ Deploy it (infra/terraform.tfvars; docs/deployment.md)

.PHONY: plan
plan: package ## Show what a deployment would change, and check the policy
	mkdir -p $(dir $(PLAN))
	terraform -chdir=infra init -input=false
	terraform -chdir=infra plan -input=false -out=$(CURDIR)/$(PLAN)
	terraform -chdir=infra show -json $(CURDIR)/$(PLAN) | $(PYTHON) -B tests/infra/plan_policies.py $(dir $(PLAN)) \
	  | xargs cargo run --quiet --locked -p ecr-guard-cli --bin ecr-guard -- policy check

.PHONY: policy-check
policy-check: ## Say what is wrong with a policy, or what it does: FILE=infra/policy.json
	@test -n "$(FILE)" || { echo "FILE is the policy: make policy-check FILE=infra/policy.json"; exit 2; }
	cargo run --quiet --locked -p ecr-guard-cli --bin ecr-guard -- policy check $(FILE)

.PHONY: deploy
deploy: plan ## Build, package, plan, and apply (YES=1 does not ask)
	@$(if $(YES),true,read -r -p "Apply this plan? Only 'yes' does: " answer && test "$$answer" = yes)
	terraform -chdir=infra apply -input=false $(CURDIR)/$(PLAN)

.PHONY: deploy-code
deploy-code: $(VENV)/.ready ## Build one function and replace its code in every region: FUNCTION=on-scan
	@test -d "functions/$(FUNCTION)" && test -n "$(FUNCTION)" || { echo "FUNCTION is one of: $(FUNCTIONS)"; exit 2; }
	@$(MAKE) --no-print-directory package FUNCTIONS=$(FUNCTION) ARCH="$$(terraform -chdir=infra output -raw architecture)"
	deployed=$$(terraform -chdir=infra output -json function_names | $(PYTHON) -c 'import json, sys; print(json.load(sys.stdin)["$(FUNCTION)"])'); \
	for region in $$(terraform -chdir=infra output -json regions | $(PYTHON) -c 'import json, sys; print(*json.load(sys.stdin))'); do \
	  $(WITH_VENV) cargo lambda deploy "$$deployed" --region "$$region" --binary-name $(FUNCTION) --alias live \
	    --lambda-dir "target/lambda/$$(terraform -chdir=infra output -raw architecture)" --merge-env --tracing active; \
	done

.PHONY: lock
lock: ## Write infra/.terraform.lock.hcl: the providers' checksums for four platforms
	terraform -chdir=infra providers lock -platform=linux_amd64 -platform=linux_arm64 -platform=darwin_amd64 -platform=darwin_arm64

.PHONY: smoke
smoke: $(VENV)/.ready ## Send an event through the deployment (needs AWS credentials; ARGS=--help)
	$(VENV)/bin/python -B tests/infra/smoke.py $(or $(ARGS),--region "$$(terraform -chdir=infra output -raw region)" \
	  --name "$$(terraform -chdir=infra output -raw name)")

.PHONY: redrive
redrive: $(VENV)/.ready ## Put back what nobody took: FUNCTION=on-scan (QUEUE=failed-events, REGION=us-east-1, DRY_RUN=1)
	@test -d "functions/$(FUNCTION)" && test -n "$(FUNCTION)" || { echo "FUNCTION is one of: $(FUNCTIONS)"; exit 2; }
	$(VENV)/bin/python -B tests/infra/redrive.py --region "$(or $(REGION),$$(terraform -chdir=infra output -raw region))" \
	  --name "$$(terraform -chdir=infra output -raw name)" --function $(FUNCTION) $(if $(QUEUE),--queue $(QUEUE)) $(if $(DRY_RUN),--dry-run)

.PHONY: destroy
destroy: $(VENV)/.ready ## Take the deployment down, if the plan shows nothing against it (KEEP_REGISTRY=1 leaves repositories and their keys; YES=1)
	mkdir -p $(dir $(PLAN))
	$(if $(KEEP_REGISTRY),if terraform -chdir=infra state list | grep '^module[.]ecr' > /dev/null; then terraform -chdir=infra state rm module.ecr; fi)
	terraform -chdir=infra plan -destroy -input=false -out=$(CURDIR)/$(PLAN)
	terraform -chdir=infra show -json $(CURDIR)/$(PLAN) | $(VENV)/bin/python -B tests/infra/destroy.py
	@$(if $(YES),true,read -r -p "Destroy all that? Only 'yes' does: " answer && test "$$answer" = yes)
	terraform -chdir=infra apply -input=false $(CURDIR)/$(PLAN)

##@ Clean up

.PHONY: clean
clean: ## Delete everything that was built
	rm -rf target

$(VENV)/.ready: tests/local/requirements.txt tests/local/action-requirements.txt tests/emulator/pyproject.toml tests/emulator/constraints.txt
	@echo "Fetching the emulators of AWS from PyPI (once, about a minute)."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --requirement tests/local/requirements.txt
	@$(VENV)/bin/pip install --quiet --requirement tests/local/action-requirements.txt || echo "NOT CHECKED: the GitHub action, since what runs it cannot be had"
	@touch $@

$(INFRA_VENV)/.ready: tests/infra/requirements.txt tests/infra/constraints.txt
	$(PYTHON) -m venv $(INFRA_VENV)
	$(INFRA_VENV)/bin/pip install --quiet --requirement tests/infra/requirements.txt --constraint tests/infra/constraints.txt
	@touch $@

$(LINT_VENV)/.ready: tests/lint/requirements.txt tests/lint/pipelines.txt
	$(PYTHON) -m venv $(LINT_VENV)
	$(LINT_VENV)/bin/pip install --quiet --requirement tests/lint/requirements.txt
	@$(LINT_VENV)/bin/pip install --quiet --requirement tests/lint/pipelines.txt || echo "NOT CHECKED: scripts and workflows, since what checks them cannot be had"
	@touch $@

$(DENY):
	cargo install --quiet --locked --debug cargo-deny@$(DENY_VERSION) \
	  --root target/tools/cargo-deny-$(DENY_VERSION) --target-dir target/tools/build
	rm -rf target/tools/build

$(CYCLONEDX):
	cargo install --quiet --locked --debug cargo-cyclonedx@$(CYCLONEDX_VERSION) \
	  --root target/tools/cargo-cyclonedx-$(CYCLONEDX_VERSION) --target-dir target/tools/build
	rm -rf target/tools/build

$(FUZZ):
	cargo install --quiet --locked --debug cargo-fuzz@$(FUZZ_VERSION) --root target/tools/cargo-fuzz-$(FUZZ_VERSION) --target-dir target/tools/build
	rm -rf target/tools/build

$(MUTANTS):
	cargo install --quiet --locked --debug cargo-mutants@$(MUTANTS_VERSION) --root target/tools/cargo-mutants-$(MUTANTS_VERSION) --target-dir target/tools/build
	rm -rf target/tools/build
