"""Every benchmark of this folder: `python bench/run.py [--quick] [name ...]`.

A benchmark is a module here with `run(quick: bool) -> list[dict]`; times are medians, and what they are compared with
is measured in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from vpr_core.errors import VprError
from vpr_core.evaluation.evaluate import table_text

HERE = Path(__file__).parent


def main() -> None:
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("run", "timing"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run: {', '.join(names)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repetitions")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known are {', '.join(names)}")
    sys.path.insert(0, str(HERE))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for name in options.names or names:
        try:
            rows = importlib.import_module(name).run(options.quick)
        except VprError as error:
            sys.exit(f"{name}: {error}")
        except KeyboardInterrupt:
            sys.exit(f"{name}: interrupted")
        print(f"\n{name}\n{table_text(rows, list(rows[0])) if rows else 'nothing to measure here'}", flush=True)


if __name__ == "__main__":
    main()
