"""Old names: each is an alias, or its error says what to write."""

import pkgutil
import re

import pytest

import tlcore
from tlcore import compat
from tlcore.cli.main import tlcore as command
from tlcore.compat import REMEDIES, SAME


@pytest.mark.parametrize("name", REMEDIES)
def test_an_old_name_says_what_to_write_as_attribute_and_as_import(name):
    assert not hasattr(compat, name)
    message = re.escape(f"{name!r} is a name of older code. Write {REMEDIES[name]}.")
    with pytest.raises(AttributeError, match=f"^{message}$"):
        getattr(compat, name)
    with pytest.raises(ImportError, match=f"^{message}$"):
        exec(f"from tlcore.compat import {name}")


def test_an_import_that_stands_far_down_says_it_too():
    # Beyond 256 names an instruction has an extended argument.
    names = "\n".join(f"name_{i} = {i}" for i in range(300))
    code = f"{names}\nfrom tlcore.compat import KerasLayer as layer"
    with pytest.raises(ImportError, match="tlcore.HubLayer"):
        exec(compile(code, "<code>", "exec"), {})


def test_the_equal_of_an_old_name_is_it():
    import keras

    from tlcore.compat import create_tensorboard_callback, to_categorical

    assert create_tensorboard_callback is tlcore.tensorboard_callback
    assert to_categorical is keras.utils.to_categorical


def test_the_old_names_are_listed():
    assert dir(compat) == sorted([*SAME, *REMEDIES])
    assert not set(SAME) & set(REMEDIES)


def test_a_name_that_is_not_known_is_no_attribute():
    message = "no attribute 'keras_layer'. Did you mean 'KerasLayer'"
    with pytest.raises(AttributeError, match=message):
        compat.keras_layer  # noqa: B018
    with pytest.raises(ImportError, match=message):
        exec("from tlcore.compat import keras_layer")
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'\.$"):
        compat.zzz  # noqa: B018


NAMED = sorted(set(re.findall(r"\b(?:tlcore|keras)(?:\.\w+)+", str(dict(REMEDIES)))))


@pytest.mark.parametrize("name", NAMED)
def test_every_name_that_a_remedy_names_is_there(name):
    assert pkgutil.resolve_name(name) is not None


def test_import_star_brings_the_names_that_have_an_equal():
    scope = {}
    exec("from tlcore.compat import *", scope)
    assert set(scope) - {"__builtins__"} == set(SAME)


def test_the_command_that_a_remedy_names_is_there():
    (named,) = re.findall(r"tlcore (\w+) IMAGE", str(dict(REMEDIES)))
    assert named in command.commands
