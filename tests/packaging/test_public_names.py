"""The names that `papyra_streams` offers."""

import inspect

import papyra_streams
from papyra_streams import errors

# Raised and caught between a script and its store; nobody else meets it.
PRIVATE_ERRORS = {"ScriptMissing"}


def test_the_names_are_in_order_and_stand_once() -> None:
    assert papyra_streams.__all__ == sorted(set(papyra_streams.__all__))


def test_every_name_can_be_imported() -> None:
    assert all(hasattr(papyra_streams, name) for name in papyra_streams.__all__)


def test_every_name_that_is_there_is_offered() -> None:
    there = {
        name for name, value in vars(papyra_streams).items() if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert there == set(papyra_streams.__all__)


def test_every_error_that_a_caller_can_meet_is_offered() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}

    assert kinds - PRIVATE_ERRORS <= set(papyra_streams.__all__)


def test_what_is_offered_is_documented() -> None:
    offered = [getattr(papyra_streams, name) for name in papyra_streams.__all__]

    assert [value.__name__ for value in offered if isinstance(value, type) and not inspect.getdoc(value)] == []


def test_every_public_method_is_documented() -> None:
    backend = papyra_streams.RedisStreamsPersistence
    parts = [part for part in backend.__mro__ if part.__module__.startswith("papyra_streams.")]
    own = {name for part in parts for name in vars(part) if not name.startswith("_")}

    assert [name for name in own if not inspect.getdoc(getattr(backend, name))] == []
