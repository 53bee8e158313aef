# Everything runs with no environment active. PYTHON names the Python that .venv is made from.
PYTHON ?= python3
VENV ?= .venv
# Processes that tests run in, side by side.
WORKERS ?= 2

PREFIX := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
BIN = "$(PREFIX)/bin"
LOCAL_ONLY := $(if $(filter humble,$(ROS_DISTRO)),ROS_LOCALHOST_ONLY=1,ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST)
# What a setup.bash would set for the environment, and a ROS graph of this machine alone.
RUN = mkdir -p build/ros_log && env $(LOCAL_ONLY) ROS_LOG_DIR="$(CURDIR)/build/ros_log" \
	PATH="$(PREFIX)/bin:$$PATH" \
	AMENT_PREFIX_PATH="$(PREFIX)$${AMENT_PREFIX_PATH:+:$$AMENT_PREFIX_PATH}" \
	LD_LIBRARY_PATH="$(PREFIX)/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}"

.DEFAULT_GOAL := help
.PHONY: help env demo test check bench colcon lock clean

help:  ## Explain the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

env:  ## Make .venv with everything in it; on a sourced ROS 2, add only what that lacks
	@"$(PYTHON)" tools/make_env.py "$(PREFIX)"

demo: env  ## Town, training, map and a live node on a replayed bag: demo/report.html, demo/demo.json
	@$(RUN) $(BIN)/vpr-distill demo

test: env  ## Run all tests; PYTEST="-k words" chooses
	@$(RUN) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST)

check: env  ## Lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy vpr_core vpr_distill_ros

bench: env  ## Measure, and print the tables of BENCHMARKS.md
	@$(RUN) $(BIN)/python bench/run.py

colcon: env  ## Build both packages with colcon into a throw-away install space, and check what landed
	@"$(PYTHON)" tools/colcon_build.py "$(PREFIX)"

lock:  ## Resolve requirements/*.in into requirements/*.txt; UPGRADE=1 takes the latest versions
	@PYTHON="$(PYTHON)" tools/lock.sh $(if $(UPGRADE),--upgrade)

clean:  ## Remove what the targets made, except .venv
	@rm -rf build install log demo .pytest_cache .mypy_cache .ruff_cache
