from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "vpr_distill_ros"
HERE = Path(__file__).resolve().parent


def shared(folder: str, pattern: str) -> list[tuple[str, list[str]]]:
    """data_files entries that keep `folder`'s layout under share/<package>."""
    by_folder: dict[str, list[str]] = {}
    for path in sorted((HERE / folder).rglob(pattern)):
        if path.is_file():
            relative = path.relative_to(HERE)
            by_folder.setdefault(f"share/{PACKAGE}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(by_folder.items())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Visual place recognition for robots, from recorded drives to live place matches",
    license="Apache-2.0",
    maintainer="vpr_distill_ros maintainers",
    maintainer_email="maintainers@users.noreply.r-seed-d1cc91a7.example",
    python_requires=">=3.10",
    packages=find_packages(include=["vpr_core*", f"{PACKAGE}*"]),
    package_data={"": ["*.csv", "*.html", "*.json", "*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared("launch", "*.launch.py"),
        *shared("config", "*"),
        *shared("bundles", "*"),
        *shared("tables/paper", "*.csv"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "localizer = vpr_distill_ros.localizer:main",
            "bag_replay = vpr_distill_ros.bag_replay:main",
            "map_builder = vpr_distill_ros.map_builder:main",
            "match_recorder = vpr_distill_ros.match_recorder:main",
            "snapshot_recorder = vpr_distill_ros.snapshot_recorder:main",
            "vpr-distill = vpr_core.cli:main",
        ],
    },
)
