"""The text of docs/api/client.md: every public name of `todoke.client`, from its signature and docstring."""

import inspect
import re
from collections.abc import Iterator
from types import GenericAlias
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from todoke import client
from todoke.client import shapes
from todoke.client.operations import Paging

HEAD = """# The Python client

Generated from the docstrings of `todoke.client` by `make apidocs`. How to begin: [integrating.md](../integrating.md).
Every method of `Client` has a twin in `AsyncClient`, awaited; `each_…` methods of the twin are iterated with
`async for`.
"""

_MODULES = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])")
_HIDDEN = frozenset({"core", "self"})


def text() -> str:
    """The whole page."""
    parts = [HEAD, "## Names\n", *(_entry(name, getattr(client, name)) for name in client.__all__)]
    parts += ["## Shapes\n", inspect.cleandoc(shapes.__doc__ or "") + "\n"]
    parts += [_entry(name, shape) for name, shape in _shapes()]
    return "\n".join(parts)


def _shapes() -> Iterator[tuple[str, Any]]:
    for name, value in vars(shapes).items():
        own = name.isidentifier() and inspect.isclass(value) and value.__module__ == shapes.__name__
        if own and issubclass(value, BaseModel) and value is not shapes.Shape and name not in client.__all__:
            yield name, value


def _entry(name: str, value: Any) -> str:
    if not inspect.isclass(value):
        if callable(value):
            return f"### `{name}{_signature(value)}`\n\n{_doc(value)}\n"
        return f"### `{name} = {value!r}`\n\n{_constant_doc(name)}\n"
    lines = [f"### `{name}`\n", _doc(value), ""]
    if issubclass(value, BaseModel):
        lines += [f"    {line}" for line in _fields(value)] + [""]
        return "\n".join(lines)
    if issubclass(value, Exception) and "__init__" not in vars(value):
        return "\n".join(lines)
    if not getattr(value, "_is_protocol", False) and "__init__" in vars(value):
        lines += [f"    {name}{_signature(value)}", ""]
    elif "__annotations__" in vars(value):
        lines += [f"    {field}: {_told(kind)}" for field, kind in vars(value)["__annotations__"].items()] + [""]
    if name == "AsyncClient":
        return "\n".join(lines)
    for method, found in vars(value).items():
        if not method.startswith("_"):
            lines += _member(name, method, found)
    return "\n".join(lines)


def _member(owner: str, name: str, found: Any) -> list[str]:
    if isinstance(found, property):
        return [f"**`{owner}.{name}`** {_doc(found)}\n"]
    function = found.__func__ if isinstance(found, classmethod) else found
    if not inspect.isfunction(function):
        return []
    return [f"#### `{owner}.{name}{_signature(function)}`\n", f"{_doc(function)}\n"]


def _signature(function: Any) -> str:
    """The signature as a caller meets it: without what the client adds, with what comes out in the end."""
    signature = inspect.signature(function)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name in _HIDDEN:
            continue
        kind = parameter.annotation
        if parameter.kind is parameter.VAR_KEYWORD and get_args(kind):
            kind = get_args(kind)[0]
        parameters.append(parameter.replace(annotation=inspect.Parameter.empty if kind is None else kind))
    answer = _answer(signature.return_annotation)
    made = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    shown = re.sub(r"<(?:built-in )?function (\w+)(?: at 0x[0-9a-f]+)?>", r"\1", _MODULES.sub("", str(made)))
    return shown if answer is inspect.Signature.empty or inspect.isclass(function) else f"{shown} -> {_told(answer)}"


def _answer(kind: Any) -> Any:
    """What a method answers: a flow ends in its value, a paging is iterated."""
    arguments = get_args(kind)
    if get_origin(kind) is not None and get_origin(kind).__name__ == "Generator":
        return arguments[-1]
    if get_origin(kind) is Paging:
        return GenericAlias(Iterator, arguments)
    return kind


def _told(kind: Any) -> str:
    return _MODULES.sub("", inspect.formatannotation(kind).replace("NoneType", "None"))


def _fields(model: type[BaseModel]) -> Iterator[str]:
    if not model.model_fields.keys() - {"root"}:
        yield _told(model.model_fields["root"].annotation)
        return
    for name, field in model.model_fields.items():
        yield f"{name}: {_told(field.annotation)}{_default(field)}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True, validated_data={})
    return f" = {default!r}"


def _doc(value: Any) -> str:
    found = inspect.cleandoc(value.__doc__ or "")
    lines = [line for line in found.splitlines() if not line.strip().startswith("core: ")]
    return "\n".join(lines)


def _constant_doc(name: str) -> str:
    """The text below a constant in the module that makes it."""
    module = inspect.getsource(inspect.getmodule(client.Client) or client)
    found = re.search(rf'^{name} = .*\n"""(.+)"""$', module, re.MULTILINE)
    return found[1] if found else ""
