"""Every service call that takes a principal refuses one that may do nothing, before it acts.

What the call names is not there, and the principal may not know whether it is: NotFound is as good
a refusal as Denied.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest
from tests.support.principals import principal

from fedcore.errors import Denied, NotFound
from fedhub import services

NOBODY = principal("nobody")
KEPT_BY_CALLER = {"idempotency"}
"""Their callers have checked: they keep answers by principal."""


def calls():
    for module_info in pkgutil.iter_modules(services.__path__):
        module = importlib.import_module(f"fedhub.services.{module_info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            parameters = inspect.signature(function).parameters
            is_inner = "db" in parameters
            if (
                "principal" in parameters
                and not is_inner
                and module_info.name not in KEPT_BY_CALLER
            ):
                yield pytest.param(function, id=f"{module_info.name}.{name}")


def arguments(function, hub):
    given = {"hub": hub, "principal": NOBODY}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in given and parameter.default is inspect.Parameter.empty:
            given[name] = "x"
    return given


@pytest.mark.parametrize("function", list(calls()))
async def test_a_principal_without_the_permission_is_refused_first(lab, function):
    before = await lab.rest.events()
    with pytest.raises((Denied, NotFound)) as caught:
        if inspect.isasyncgenfunction(function):
            await anext(function(**arguments(function, lab.hub)))
        else:
            await function(**arguments(function, lab.hub))
    assert re.match("nobody may not|there is no", caught.value.message)
    assert await lab.rest.events() == before


def test_the_calls_are_found():
    assert len(list(calls())) > 20
