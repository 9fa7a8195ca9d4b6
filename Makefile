# The commands of Commonhold. `make` alone lists them.

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/uv/bin/uv)
FOUNDRY_VERSION := 1.7.1
BIN := .venv/bin
ANALYSIS := $(CURDIR)/.tools/analysis/bin

# The lock file has forge, anvil and cast for Linux on x86-64; elsewhere those of the machine serve, in the same version.
export PATH := $(CURDIR)/contracts/node_modules/.bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never

# $(call need,what,expected,test,version): one clear line when a program of the machine is missing or too old.
need = @$(3) 2>/dev/null || { echo "$(1): expected $(2), got: $$($(4) 2>&1 | head -n 1)" >&2; exit 1; }
python_ok = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'
node_ok = node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'

.DEFAULT_GOAL := help
.PHONY: help setup test demo check contracts contracts-test contracts-mutation contracts-symbolic contracts-slither \
	contracts-coverage contracts-deep mirror-deep bench-gas bench-metering bench-mirror bench-mirror-growth bench-audit abi standard-json lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-15s %s\n", $$1, $$2 }'

setup: .venv/.stamp contracts/node_modules/.stamp ## install the locked tools and packages, in this folder only

test: setup tests/stock/node_modules/.stamp check contracts-test ## everything that a change must pass
	$(BIN)/pytest -n auto

demo: setup ## the whole way on this machine, from a chain to an anchor; ONCE=1 runs it through and stops
	$(BIN)/commonhold demo $(if $(ONCE),$(if $(filter-out 1,$(ONCE)),$(error ONCE: expected 1, got $(ONCE)),--once))

check: setup ## lint, format, types, order of the stages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cd contracts && forge fmt --check
	$(BIN)/lint-imports
	$(BIN)/mypy

contracts: setup ## build the contracts, within the size that a chain accepts
	cd contracts && forge build --skip test --sizes

contracts-test: contracts ## compare the committed ABIs with the build, test the contracts
	$(BIN)/python scripts/abi.py --check
	cd contracts && forge test
	cd contracts && forge snapshot --check --mc 'GasTest$$'

contracts-mutation: setup ## take guards away one at a time: each must fail a test; FILES="Access Meter" JOBS=2 as you like
	$(BIN)/python scripts/mutate.py $(FILES) --jobs $(or $(JOBS),2)

contracts-symbolic: setup .tools/analysis/.stamp ## the limits for all inputs at once, by halmos
	cd contracts && FOUNDRY_PROFILE=symbolic $(ANALYSIS)/halmos --forge-build-out ../build/symbolic/out --no-status \
		--solver-command '$(ANALYSIS)/python ../scripts/cvc5_smt.py' --solver-timeout-assertion 120s

contracts-slither: setup .tools/analysis/.stamp ## known kinds of defects, but for those that contracts/slither.json explains
	$(BIN)/python scripts/slither.py --slither $(ANALYSIS)/slither

# A test reads the ABIs of a build. What is measured in gas is not what is deployed here.
contracts-coverage: contracts ## lines and branches that the tests reach
	mkdir -p build
	cd contracts && FOUNDRY_FUZZ_RUNS=32 FOUNDRY_INVARIANT_RUNS=4 forge coverage --ir-minimum --no-match-contract 'Gas|OpenEverywhere' \
		--no-match-coverage '(test|bench|dev|node_modules)/' --report summary --report lcov --report-file ../build/lcov.info

contracts-deep: contracts-symbolic contracts-slither contracts-coverage ## all that takes long: those three, mutants, many inputs
	cd contracts && FOUNDRY_PROFILE=deep forge test
	$(MAKE) contracts-mutation

mirror-deep: setup ## follow random histories through reorgs, restarts, failing and lying endpoints; HISTORIES=500 FIRST=0
	HISTORIES=$(or $(HISTORIES),500) FIRST=$(or $(FIRST),0) $(BIN)/pytest -v -o console_output_style=count tests/mirror/test_model.py

bench-gas: setup tests/bench/gas/node_modules/.stamp ## gas of ours beside others' for the same, in one run
	cd contracts && forge build --skip test
	cd contracts && forge build bench/Peers.sol
	$(BIN)/python -m tests.bench.gas

bench-metering: setup ## readings a second into the database, and the share of what its parts allow
	$(BIN)/python -m tests.bench.metering

bench-mirror: contracts tests/bench/ponder/node_modules/.stamp ## the mirror beside the download alone, web3.py and ponder; EVENTS=30000 N=1 as you like
	$(BIN)/python -m tests.bench.mirror --events $(or $(EVENTS),300000) --repeat $(or $(N),3) $(if $(WAYS),--ways $(WAYS))

bench-mirror-growth: contracts ## time and memory of the mirror as a made-up chain grows; EVENTS="30000 300000 3000000" as you like
	$(BIN)/python -m tests.bench.mirror --growth $(or $(EVENTS),30000 300000 3000000)

bench-audit: contracts ## time and memory of an audit; EVENTS="30000 300000" as you like
	$(BIN)/python -m tests.bench.audit --events $(or $(EVENTS),30000 300000)

abi: setup ## rebuild the committed ABIs from the contracts
	cd contracts && forge build --skip test --force
	$(BIN)/python scripts/abi.py

# $(call lock_npm,folder). npm looks at what is installed, too, and would lock that: so it resolves in an empty folder.
lock_npm = rm -rf .tools/lock && mkdir -p .tools/lock && cp $(1)/package.json $(1)/.npmrc .tools/lock && \
	(cd .tools/lock && npm install --package-lock-only --loglevel=error) && mv .tools/lock/package-lock.json $(1)

lock: $(UV) ## resolve the lock files again; UPGRADE=1 takes newer versions
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--custom-compile-command "make lock" $(if $(filter 1,$(UPGRADE)),--upgrade) -o requirements.lock pyproject.toml
	$(call lock_npm,contracts)
	$(call lock_npm,tests/stock)
	$(call lock_npm,tests/bench/ponder)
	$(call lock_npm,tests/bench/gas)
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(if $(filter 1,$(UPGRADE)),--upgrade) -o contracts/analysis.lock contracts/analysis.in

standard-json: setup ## what block explorers verify the contracts by, into build/standard-json; compiles each and compares
	$(BIN)/python scripts/standard_json.py --check

clean: ## remove all that the other commands made here
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .commonhold
	rm -rf contracts/node_modules contracts/out contracts/cache tests/stock/node_modules
	rm -rf tests/bench/ponder/node_modules tests/bench/gas/node_modules build

.tools/uv/bin/uv:
	$(call need,$(PYTHON),Python 3.11 or newer,$(python_ok),$(PYTHON) --version)
	$(PYTHON) -m venv .tools/uv
	.tools/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The project comes last and builds with the locked backend: nothing is installed that the lock does not name.
.venv/.stamp: requirements.lock pyproject.toml | $(UV)
	$(call need,$(PYTHON),Python 3.11 or newer,$(python_ok),$(PYTHON) --version)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.tools/analysis/.stamp: contracts/analysis.lock | $(UV)
	test -x $(ANALYSIS)/python || $(UV) venv --quiet --python $(PYTHON) .tools/analysis
	$(UV) pip sync --quiet --python $(ANALYSIS)/python --require-hashes contracts/analysis.lock
	@touch $@

# $(npm_ci): the locked packages stand beside the rule's package.json.
define npm_ci
$(call need,node,Node 20 or newer,$(node_ok),node --version)
$(call need,npm,npm,npm --version >/dev/null,npm --version)
cd $(<D) && npm ci --loglevel=error
endef

contracts/node_modules/.stamp: contracts/package.json contracts/package-lock.json contracts/.npmrc
	$(npm_ci)
	$(call need,forge,Foundry $(FOUNDRY_VERSION),forge --version | grep -q $(FOUNDRY_VERSION),forge --version)
	@touch $@

# What the stock clients and the benches run, each in its own folder.
OTHERS := $(patsubst %,tests/%/node_modules/.stamp,stock bench/gas bench/ponder)
$(OTHERS): %/node_modules/.stamp: %/package.json %/package-lock.json %/.npmrc
	$(npm_ci)
	@touch $@

