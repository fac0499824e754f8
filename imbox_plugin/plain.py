"""Templates that say no more than `{{ contact.tier }}` are read without a rendering.

Most texts on a card are a value, perhaps through a filter, between words. Jinja makes a context for
each of its renderings, which takes several times as long as the value. What is built here does what
the compiled template would do, by the same environment: its sandbox, its undefined, its finalize.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

from jinja2 import Environment, Undefined, nodes
from markupsafe import escape

_Values: TypeAlias = Mapping[str, Any]
_Read: TypeAlias = Callable[[_Values], Any]


class PlainTemplates:
    """Turns the trees of plain templates into functions. Built once.

    Args:
        environment: what the templates are compiled by otherwise; it has a finalize, which leaves
            a text as it is.
        names: the values that a template is given; any other name may be one of Jinja's own.
        filters: those that are functions of the value and the arguments alone.
    """

    def __init__(
        self, environment: Environment, names: Collection[str], filters: Collection[str]
    ) -> None:
        self._environment = environment
        self._names = frozenset(names)
        self._filters = frozenset(filters)

    def text(self, tree: nodes.Template) -> Callable[[_Values], str] | None:
        """What renders the template; None: it is not plain."""
        if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
            return None
        parts = [self._part(node) for node in tree.body[0].nodes]
        plain = [part for part in parts if part]
        if len(plain) < len(parts):
            return None
        if len(plain) == 1:
            return plain[0]
        return lambda values: "".join([part(values) for part in plain])

    def value(self, tree: nodes.Template) -> _Read | None:
        """What gives the value of the template's only `{{ }}`, None for an undefined one."""
        match tree.body:
            case [nodes.Output(nodes=[node])]:
                read = self._read(node)
            case _:
                read = None
        return read and _defined(read)

    def _part(self, node: nodes.Expr) -> Callable[[_Values], str] | None:
        if isinstance(node, nodes.TemplateData):
            return _always(node.data)
        read = self._read(node)
        return read and _shown(read, self._environment)

    def _read(self, node: nodes.Node) -> _Read | None:
        """What gives the value of an expression; None: it is not plain."""
        match node:
            case nodes.Name(name=name) if name in self._names:
                return _named(name, self._environment)
            case nodes.Getattr(node=nodes.Name(name=first), attr=name) if first in self._names:
                return _detail(first, name, self._environment)
            case (
                nodes.Getattr(node=before)
                | nodes.Getitem(node=before)
                | nodes.Filter(node=nodes.Expr() as before)
            ):
                read, step = self._read(before), self._step(node)
                return _then(read, step) if read and step else None
        return None

    def _step(self, node: nodes.Node) -> Callable[[Any], Any] | None:
        """What an expression makes of the value before it."""
        environment = self._environment
        match node:
            case nodes.Getattr(attr=name):
                return lambda value: environment.getattr(value, name)
            case nodes.Getitem(arg=nodes.Const(value=key)):
                return lambda value: environment.getitem(value, key)
            case nodes.Getitem(arg=nodes.Slice(start=start, stop=stop, step=step)):
                ends = _constants((start, stop, step))
                # as in a template, slices pass by `getitem`
                return itemgetter(slice(*ends)) if ends else None
            case nodes.Filter(name=name, kwargs=[], dyn_args=None, dyn_kwargs=None):
                arguments = _constants(node.args)
                if name in self._filters and arguments is not None:
                    return _filtered(environment.filters[name], arguments)
        return None


def _constants(found: Collection[nodes.Expr | None]) -> tuple[Any, ...] | None:
    """The values of constants; None: there is something else among them."""
    constants = [node for node in found if node is None or isinstance(node, nodes.Const)]
    if len(constants) < len(found):
        return None
    return tuple(node and node.value for node in constants)


def _always(text: str) -> Callable[[_Values], str]:
    return lambda _: text


def _named(name: str, environment: Environment) -> _Read:
    def read(values: _Values) -> Any:
        return values[name] if name in values else environment.undefined(name=name)

    return read


def _detail(first: str, name: str, environment: Environment) -> _Read:
    """`contact.tier`: nearly all there is, so the name is not read in a function of its own."""
    getattr_, undefined = environment.getattr, environment.undefined

    def read(values: _Values) -> Any:
        return getattr_(values[first] if first in values else undefined(name=first), name)

    return read


def _then(read: _Read, step: Callable[[Any], Any]) -> _Read:
    return lambda values: step(read(values))


def _filtered(filter_: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    return (lambda value: filter_(value, *arguments)) if arguments else filter_


def _defined(inner: _Read) -> _Read:
    def read(values: _Values) -> Any:
        value = inner(values)
        return None if isinstance(value, Undefined) else value

    return read


def _shown(inner: _Read, environment: Environment) -> Callable[[_Values], str]:
    """A value as it stands in the text."""
    finalize: Callable[[Any], Any] = environment.finalize  # type: ignore[assignment]
    if environment.autoescape:
        return lambda values: str(escape(finalize(inner(values))))

    def show(values: _Values) -> str:
        value = inner(values)
        return value if type(value) is str else str(finalize(value))

    return show
