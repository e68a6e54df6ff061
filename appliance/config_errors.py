"""Turn what pydantic finds wrong with the settings into one line a problem: which key, what is wrong, what to do."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from appliance.credentials import SECRETS
from appliance.ingest import codecs
from appliance.notify import NOTIFIERS, NotifierOptions


def explain(problem: ErrorDetails, raw: Mapping[str, Any], settings: type[BaseModel]) -> str:
    """Explain one problem; tables of one kind are counted from 1.

    Parameters
    ----------
    raw
        The file as it was read: it says which codec or notifier a table is for.
    settings
        The model of the whole file.
    """
    kind, value, context, path = problem["type"], problem["input"], problem.get("ctx", {}), problem["loc"]
    where = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        names_option = re.match(r"\w+: ", message) is not None  # a table's own check begins with the option at fault
        return f"{where}.{message}".removeprefix(".") if names_option else f"{where}: {message}"
    if kind == "extra_forbidden":
        return f"{where}: {unknown_option(str(path[-1]), _siblings(path, raw, settings))}"
    if kind == "missing":
        return f"{where}: is missing; add it"
    if path[:2] in SECRETS:
        return f"{where}: is not text"
    if kind in {"less_than_equal", "less_than"}:
        return f"{where}: {value!r} is above {context.get('le', context.get('lt'))}"
    if kind in {"greater_than_equal", "greater_than"}:
        limit = f"below {context['ge']}" if "ge" in context else f"not above {context.get('gt')}"
        return f"{where}: {value!r} is {limit}"
    if kind in {"bool_parsing", "bool_type"}:
        return f"{where}: {reprlib.repr(value)} is neither true nor false"
    if kind == "literal_error":
        return f"{where}: {reprlib.repr(value)} is not one of {context.get('expected')}"
    return f"{where}: {reprlib.repr(value)}: {message}"


def unknown_option(key: str, options: Iterable[str], prefix: str = "") -> str:
    """Say what to do with a key that is no option.

    Examples
    --------
    >>> unknown_option("hots", ["host", "port"])
    'is not an option; did you mean host?'
    """
    close = difflib.get_close_matches(key, list(options), n=1)
    return "is not an option; " + (f"did you mean {prefix}{close[0]}?" if close else "remove it")


def _siblings(path: tuple[int | str, ...], raw: Any, model: Any) -> list[str]:
    """Names that could have stood where an unknown key stands: the options of its table."""
    for part in path[:-1]:
        level: Any = dict(enumerate(raw)) if isinstance(raw, list) else raw
        raw = level.get(part, {})  # {}: the table came from the environment
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            kinds = [getattr(kind, "__origin__", kind) for kind in (annotation, *get_args(annotation))]
            model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    kind = raw.get("type")
    if model is codecs.CodecOptions and kind in codecs.CODECS:
        model = type(codecs.parse_options({"type": kind}))
    elif model is NotifierOptions and kind in NOTIFIERS:
        model = NOTIFIERS[kind].Options
    return list(model.model_fields)
