from __future__ import annotations

import builtins
import concurrent.futures
import inspect
import re

from jetbridge import errors


def classes():
    found = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    return {name: value for name, value in found.items() if value.__module__ == errors.__name__}


def drawn():
    """The tree of the module's docstring: {name: parent}."""
    parents, stack = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)\b", line)
        if match:
            depth = len(match.group(1)) // 4
            del stack[depth:]
            parents[match.group(2)] = stack[-1] if stack else None
            stack.append(match.group(2))
    return parents


def test_the_docstring_draws_the_classes():
    ours = classes()
    parents = {
        name: next((base.__name__ for base in value.__mro__[1:] if base in ours.values()), None)
        for name, value in ours.items()
    }
    assert drawn() == parents


def test_there_is_one_root():
    assert [name for name, parent in drawn().items() if parent is None] == ["JetbridgeError"]
    assert all(issubclass(value, errors.JetbridgeError) for value in classes().values())


def test_every_error_says_what_it_means():
    assert [name for name, value in classes().items() if not inspect.getdoc(value)] == []


def test_they_are_also_what_a_python_person_catches():
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.PipelineError, ValueError)
    assert issubclass(errors.KeyTypeError, TypeError)
    assert issubclass(errors.TimeoutException, TimeoutError)
    assert issubclass(errors.JobCancelledError, concurrent.futures.CancelledError)
    assert issubclass(errors.ConnectionError, builtins.ConnectionError)


def test_errors_that_cross_processes_can_be_pickled():
    import pickle

    error = errors.JobFailedError("it failed", stage="parse", item="4711", user_traceback="Traceback")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.stage, again.item, again.user_traceback) == ("it failed", "parse", "4711", "Traceback")
