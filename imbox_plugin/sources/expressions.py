"""JMESPath in the settings: where in a JSON document the wanted part is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from jmespath.visitor import Options
from marshmallow import ValidationError, fields

from imbox_plugin.settings import unknown
from imbox_plugin.sources.base import SourceError


class Expression(fields.String):
    """A JMESPath expression, compiled when the settings are read."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return compiled(str(super()._deserialize(value, attr, data, **kwargs)))


def compiled(expression: str) -> ParsedResult:
    """The expression, ready to be used.

    Raises:
        ValidationError: it is none, or calls a function that does not exist.
    """
    try:
        result = jmespath.compile(expression)
    except JMESPathError as error:
        raise ValidationError(f"not a JMESPath expression{_where(error)}; correct it") from None
    for name in _functions(result.parsed):
        if name not in Functions.FUNCTION_TABLE:
            raise ValidationError(unknown("function", name, Functions.FUNCTION_TABLE))
    return result


def select(expression: ParsedResult, document: Any, place: str) -> Any:
    """What the expression finds in a document; None: nothing.

    Args:
        expression: from the settings.
        document: JSON, its fractions as Decimal.
        place: where the expression is written, for messages.

    Raises:
        SourceError: a function got what it is not made for. No value is told.
    """
    try:
        return expression.search(document, Options(custom_functions=_Functions()))
    except (JMESPathError, ArithmeticError, RecursionError, TypeError) as error:
        name = getattr(error, "function_name", None)
        function = f" in {name}()" if name else ""
        raise SourceError(
            f"{place} does not fit what the server sent ({type(error).__name__}{function}); "
            "allow for what may be missing, as in [a, b][?@]",
            permanent=True,
        ) from None


class _Number(float):
    """A Decimal among JMESPath's functions, which know a number by the name of its class."""

    __slots__ = ("exact",)
    exact: Decimal


_Number.__name__ = "float"


class _Functions(Functions):
    """JMESPath's own functions, for documents with decimals."""

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        return _exact(super().call_function(function_name, [_known(arg) for arg in resolved_args]))


def _known(value: Any) -> Any:
    match value:
        case Decimal():
            number = _Number(value)
            number.exact = value
            return number
        case list():
            return [_known(inner) for inner in value]
        case dict():
            return {name: _known(inner) for name, inner in value.items()}
        case _:
            return value


def _exact(value: Any) -> Any:
    match value:
        case _Number():
            return value.exact
        case list():
            return [_exact(inner) for inner in value]
        case dict():
            return {name: _exact(inner) for name, inner in value.items()}
        case _:
            return value


def _functions(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if node.get("type") == "function_expression":
            yield str(node["value"])
        for child in node.get("children", ()):
            yield from _functions(child)


def _where(error: JMESPathError) -> str:
    match error:
        case LexerError():
            at = error.lexer_position
        case ParseError():
            at = error.lex_position
        case _:
            return ""
    return f" (character {at + 1})"
