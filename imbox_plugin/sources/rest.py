"""People behind a REST API: one request per key, and further requests for what belongs to them.

Everything is declared in the settings, in the words that declarative REST clients such as dlt use:
`client`, `endpoints`, `data_selector`, `pagination`, `response_actions`. What an answer holds is
picked out by JMESPath.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from jmespath.parser import ParsedResult
from marshmallow import ValidationError, validate, validates, validates_schema

from imbox_plugin.http import (
    PLACEHOLDER,
    SIZE_LIMIT,
    Answer,
    Client,
    HttpError,
    Unsendable,
    basic,
    check_base_url,
    check_path,
)
from imbox_plugin.identity import SEARCH_FORMS, search_forms
from imbox_plugin.model import View
from imbox_plugin.oauth import ClientCredentials
from imbox_plugin.settings import unknown
from imbox_plugin.sources import (
    Contact,
    DataSource,
    Key,
    Lookup,
    Schema,
    SourceContext,
    SourceError,
    fields,
)
from imbox_plugin.sources.expressions import Expression, compiled, select
from imbox_plugin.sources.records import (
    CONTACT_NAMES,
    FORM_NAMES,
    SHOWN_BY,
    forms_of,
    of_one,
    plain,
    text,
    texts,
)

_EVERYTHING = compiled("@")
#: reserved for examples and for fiction, so that a check asks for nobody
_NOBODY: Mapping[Key, str] = MappingProxyType(
    {
        Key.EXTERNAL_ID: "0",
        Key.CONTACT_ID: "0",
        Key.EMAIL: "nobody@example.com",
        Key.PHONE: "+12025550100",
    }
)
_NO_DETAIL = (
    "not a name for a detail; use letters, digits and _, and none of the contact's own names, "
    "such as email"
)
_PRINTABLE = re.compile(r"[ -~]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: the parts of an endpoint that may have placeholders
_PARTS = ("path", "params", "json")
#: headers that are the transport's own
_OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "transfer-encoding"}
)

#: what each type of `auth` needs, and what it may have
_AUTH: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "bearer": (frozenset({"token"}), frozenset()),
        "api_key": (frozenset({"name", "api_key"}), frozenset({"location", "prefix"})),
        "http_basic": (frozenset({"username", "password"}), frozenset()),
        "oauth2": (
            frozenset({"token_url", "client_id", "client_secret"}),
            frozenset({"scope", "params", "location"}),
        ),
    }
)
_LOCATIONS = MappingProxyType({"api_key": ("header", "query"), "oauth2": ("body", "header")})
_PAGES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "offset": (frozenset({"param", "size"}), frozenset()),
        "page": (frozenset({"param", "size"}), frozenset({"first"})),
        "cursor": (frozenset({"param", "next"}), frozenset()),
        "link": (frozenset(), frozenset()),
    }
)


# --- settings -------------------------------------------------------------------------------------


class _Scalar(fields.String):
    """A text, or a number or a truth value as text."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        del attr, data, kwargs
        if isinstance(value, bool):
            return str(value).lower()
        if not isinstance(value, str | int | float):
            raise ValidationError("must be a text, a number, true or false")
        return str(value)


class _Body(fields.Dict):
    """A JSON document."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValidationError("holds what JSON has not; write dates as texts") from None
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class _Details(fields.Field[Any]):
    """One expression for all details, or a table of them by name."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        if not isinstance(value, dict):
            return Expression().deserialize(value)
        found, problems = {}, {}
        for name, expression in value.items():
            try:
                found[name] = Expression().deserialize(expression)
            except ValidationError as error:
                problems[name] = error.messages
            if not _is_detail(name):
                problems[name] = [_NO_DETAIL]
        if problems:
            raise ValidationError(problems)
        return found


def _is_detail(name: str) -> bool:
    return name.isidentifier() and name not in CONTACT_NAMES | {"details"}


def _says(text: str) -> dict[str, str]:
    """The metadata of a setting: what it means."""
    return {"help": text}


def _one_of(*names: str, **options: Any) -> fields.String:
    return fields.String(
        validate=validate.OneOf(names, error="must be one of: {choices}"), **options
    )


def _secret() -> fields.String:
    return fields.String(metadata={"secret": True}, validate=_check_header_text)


def _positive(**options: Any) -> fields.Integer:
    return fields.Integer(
        strict=True, validate=validate.Range(min=1, error="must be 1 or more"), **options
    )


def _check_header_text(value: str) -> None:
    if not _PRINTABLE.fullmatch(value):
        raise ValidationError("must be plain ASCII in one line; correct it")


def _check_own_header(name: str, setting: str = "_schema") -> None:
    if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
        raise ValidationError("not the name of a header that can be set; correct it", setting)


def _check_header(name: str) -> None:
    _check_own_header(name)
    if name.lower() == "authorization":
        raise ValidationError("write it as auth, so that it is kept as a secret")


def _check_path(path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    if not path.startswith("/"):
        raise ValidationError("must begin with /")


def _check_types(
    data: Mapping[str, Any], types: Mapping[str, tuple[frozenset[str], frozenset[str]]]
) -> None:
    """Raise where a table lacks what its `type` needs, or has what only other types have."""
    needed, welcome = types[data["type"]]
    own = needed | welcome | {"type", "max_pages"}
    problems = {name: ["Missing data for required field."] for name in needed - data.keys()}
    for name in data.keys() - own:
        problems[name] = [f"means nothing to the type {data['type']}; take it out"]
    if problems:
        raise ValidationError(problems)


class _AuthSchema(Schema):
    """What `_AUTH` lists for the type."""

    type = _one_of(*_AUTH, required=True)
    token = _secret()
    name = fields.String(
        validate=_check_header_text, metadata=_says("of the header or parameter with the api_key")
    )
    prefix = fields.String(
        validate=_check_header_text, metadata=_says('goes before the api_key, such as "Token "')
    )
    api_key = _secret()
    location = _one_of(
        "header",
        "query",
        "body",
        metadata=_says(
            'of the api_key "header" or "query", of an oauth2 client "body" or "header"'
        ),
    )
    username = fields.String(validate=validate.ContainsNoneOf(":", error="may have no colon"))
    password = fields.String(metadata={"secret": True})
    token_url = fields.String()
    client_id = fields.String()
    client_secret = fields.String(metadata={"secret": True})
    scope = fields.String()
    params = fields.Dict(
        fields.String(), _Scalar(), metadata=_says("more for the token server, such as audience")
    )

    @validates_schema
    def _fits_its_type(self, data: Mapping[str, Any], **_: Any) -> None:
        _check_types(data, _AUTH)
        if data["type"] == "api_key" and data.get("location") != "query":
            _check_own_header(data["name"], "name")
        places = _LOCATIONS.get(data["type"], ())
        if "location" in data and data["location"] not in places:
            raise ValidationError(f"must be one of: {', '.join(places)}", "location")


class _ClientSchema(Schema):
    """The server, and how it knows us."""

    base_url = fields.String(
        required=True, metadata=_says("what every path begins with; https, host and all")
    )
    headers = fields.Dict(
        fields.String(validate=_check_header),
        fields.String(validate=_check_header_text),
        load_default=dict,
        metadata=_says("sent with every request"),
    )
    auth = fields.Nested(_AuthSchema, load_default=None, metadata=_says("how we prove who we are"))
    size_limit = _positive(load_default=SIZE_LIMIT, metadata=_says("bytes of one answer"))
    insecure = fields.Boolean(
        load_default=False, metadata=_says("speak plain http with another machine")
    )

    @validates_schema
    def _addresses_fit(self, data: Mapping[str, Any], **_: Any) -> None:
        addresses = {"base_url": data["base_url"]}
        if data["auth"] and "token_url" in data["auth"]:
            addresses["auth"] = data["auth"]["token_url"]
        problems: dict[str, Any] = {}
        for name, url in addresses.items():
            try:
                check_base_url(url, insecure=data["insecure"])
            except ValueError as error:
                says = [str(error)]
                problems[name] = {"token_url": says} if name == "auth" else says
        if problems:
            raise ValidationError(problems)


class _PaginationSchema(Schema):
    """How the next page is asked for; what `_PAGES` lists for the type."""

    type = _one_of(*_PAGES, required=True)
    param = fields.String(
        metadata=_says("names the page; goes into the body where there is one, else the query")
    )
    size = _positive(metadata=_says("records of a full page; one with fewer is the last"))
    first = fields.Integer(strict=True, metadata=_says("number of the first page, else 1"))
    next = Expression(
        metadata=_says("finds what the next page is asked by; nothing or false: this is the last")
    )
    max_pages = _positive(load_default=3)

    @validates_schema
    def _fits_its_type(self, data: Mapping[str, Any], **_: Any) -> None:
        _check_types(data, _PAGES)


class _EndpointSchema(Schema):
    """One request. In `path`, `params` and `json`, `{email}` and the like stand for values."""

    method = _one_of(
        "GET", "POST", load_default=None, metadata=_says("POST when there is a body, else GET")
    )
    path = fields.String(
        required=True, validate=_check_path, metadata=_says("such as /people/{external_id}")
    )
    params = fields.Dict(
        fields.String(), _Scalar(), load_default=dict, metadata=_says("of the query")
    )
    json = _Body(load_default=None, metadata=_says("the body"))
    data_selector = Expression(
        load_default=_EVERYTHING, metadata=_says("where in the answer the records are")
    )
    error_selector = Expression(
        load_default=None, metadata=_says("what in a success says that it is none")
    )
    pagination = fields.Nested(
        _PaginationSchema, load_default=None, metadata=_says("how further pages are asked for")
    )
    response_actions = fields.Dict(
        fields.String(validate=validate.Regexp(r"[345]\d\d\Z", error="not a status such as 404")),
        _one_of("unknown", "temporary", "permanent"),
        load_default=dict,
        metadata=_says('what a status means; 404 is "unknown" by itself'),
    )


class _EndpointsSchema(Schema):
    """One endpoint per key."""

    external_id = fields.Nested(_EndpointSchema)
    contact_id = fields.Nested(_EndpointSchema)
    email = fields.Nested(_EndpointSchema)
    phone = fields.Nested(_EndpointSchema)


class _ContactSchema(Schema):
    """Where in a record the parts of a contact are."""

    external_id = Expression()
    contact_id = Expression()
    name = Expression(metadata=_says("of a list, the texts are joined by spaces"))
    emails = Expression(metadata=_says("a list, or a text, of several with commas between"))
    phones = Expression(metadata=_says("likewise"))
    details = _Details(metadata=_says("an expression for an object, or a table of expressions"))


# --- what is asked --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pagination:
    type: str
    param: str = ""
    size: int = 0
    first: int = 1
    next: ParsedResult = _EVERYTHING
    max_pages: int = 3

    def after(self, page: int, answer: Answer, count: int, place: str) -> Mapping[str, str] | None:
        """The parameters of the page behind this one, the first being 0; None: it is the last."""
        match self.type:
            case "link":
                return answer.next_params
            case "cursor":
                cursor = select(self.next, answer.document, f"{place}.pagination.next")
                return {self.param: str(text(cursor))} if cursor and text(cursor) else None
            case _ if count < self.size:
                return None
            case "offset":
                return {self.param: str((page + 1) * self.size)}
            case _:
                return {self.param: str(self.first + page + 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoint:
    """One request of the settings, ready to be made."""

    #: its path in the settings, for messages
    place: str
    method: str
    path: str
    params: Mapping[str, str]
    json: Mapping[str, Any] | None
    data_selector: ParsedResult
    error_selector: ParsedResult | None
    pagination: _Pagination | None
    response_actions: Mapping[str, str]
    #: its placeholders
    names: frozenset[str]


def _endpoint(place: str, options: Mapping[str, Any]) -> _Endpoint:
    given = dict(options)
    given["method"] = given["method"] or ("GET" if given["json"] is None else "POST")
    given["pagination"] = given["pagination"] and _Pagination(**given["pagination"])
    names = frozenset(name for part in _PARTS for name in _names(given[part]))
    return _Endpoint(place=place, names=names, **given)


def _names(part: Any) -> Iterator[str]:
    """The placeholders of a path, of parameters or of a body."""
    match part:
        case str():
            yield from PLACEHOLDER.findall(part)
        case Mapping():
            yield from _names(list(part.values()))
        case list():
            for inner in part:
                yield from _names(inner)


def _with(part: Any, values: Mapping[str, str]) -> Any:
    """The same with values in place of the placeholders."""
    match part:
        case str():
            return PLACEHOLDER.sub(lambda found: values[found[1]], part)
        case Mapping():
            return {name: _with(inner, values) for name, inner in part.items()}
        case list():
            return [_with(inner, values) for inner in part]
        case _:
            return part


def _check_names(endpoint: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """What is wrong with the placeholders of an endpoint, by where they are."""
    problems: dict[str, Any] = {}
    for part in _PARTS:
        # A part that is wrong in itself is left out.
        strange = [name for name in _names(endpoint.get(part)) if name not in known]
        if strange:
            says = unknown("placeholder", strange[0], known)
            problems[part] = [f"{says} (other braces take spaces, as in {{ id }})"]
    return problems


class RestSource(DataSource):
    """Knows the people that a REST API knows."""

    by_identity_alone = True

    class Options(Schema):
        """Which server, what to ask it, and where in its answers a contact is."""

        client = fields.Nested(_ClientSchema, required=True, metadata=_says("the server"))
        endpoints = fields.Nested(
            _EndpointsSchema,
            required=True,
            validate=validate.Length(min=1, error="no endpoint; write one for a key, e.g. email"),
            metadata=_says("by key, what finds people"),
        )
        contact = fields.Nested(
            _ContactSchema,
            required=True,
            metadata=_says("by JMESPath, where in a record the parts of a contact are"),
        )
        # Placeholders are the person's identities in the forms an endpoint knows, and the details
        # that `contact` names.
        related = fields.Dict(
            fields.String(),
            fields.Nested(_EndpointSchema),
            load_default=dict,
            metadata=_says("by name of a detail, what tells more about the person found"),
        )
        health = fields.Nested(
            _EndpointSchema,
            load_default=None,
            metadata=_says("asked to see that the server is well, instead of every endpoint"),
        )
        time_limit = fields.Float(
            load_default=None,
            allow_none=True,
            validate=validate.Range(min=0.05, max=60, error="must be from 0.05 to 60 seconds"),
            metadata=_says("seconds for one question; four fifths of the deadline when left out"),
        )

        @validates("endpoints")
        def _endpoints_fit(self, endpoints: Mapping[str, Any], **_: Any) -> None:
            problems = {}
            for key, endpoint in endpoints.items():
                known = SEARCH_FORMS[Key(key)]
                wrong = _check_names(endpoint, known)
                names = [name for part in _PARTS for name in _names(endpoint.get(part))]
                if not names and "path" in endpoint:
                    places = ", ".join(f"{{{name}}}" for name in known)
                    says = f"would ask for everybody; write {places} into it, params or json"
                    wrong = {"path": [says]}
                if wrong:
                    problems[key] = wrong
            if problems:
                raise ValidationError(problems)

        @validates("health")
        def _health_fits(self, health: Mapping[str, Any] | None, **_: Any) -> None:
            if health and (wrong := _check_names(health, ())):
                raise ValidationError(wrong)

        @validates_schema
        def _parts_fit(self, data: Mapping[str, Any], **_: Any) -> None:
            problems: dict[str, Any] = {}
            contact = data["contact"]
            for key in data["endpoints"]:
                shown = SHOWN_BY[Key(key)]
                if shown not in contact:
                    says = f"missing; without it nobody found by {key} could be verified"
                    problems.setdefault("contact", {})[shown] = [says]
            details = contact.get("details")
            own = tuple(details) if isinstance(details, Mapping) else ()
            for name, endpoint in data["related"].items():
                wrong: Any = _check_names(endpoint, sorted({*FORM_NAMES, *own}))
                if not _is_detail(name):
                    wrong = [_NO_DETAIL]
                elif name in own:
                    wrong = ["another detail has this name; rename one"]
                if wrong:
                    problems.setdefault("related", {})[name] = wrong
            if problems:
                raise ValidationError(problems)

    def __init__(self, options: Mapping[str, Any], context: SourceContext) -> None:
        super().__init__(options, context)
        self._time_limit: float = options["time_limit"] or context.time_limit
        self._client = _client(options["client"])
        self._endpoints = {
            Key(name): _endpoint(f"endpoints.{name}", one)
            for name, one in options["endpoints"].items()
        }
        self._related = {
            name: _endpoint(f"related.{name}", one) for name, one in options["related"].items()
        }
        self._health = options["health"] and _endpoint("health", options["health"])
        self._mapping: Mapping[str, Any] = options["contact"]
        self.keys = frozenset(self._endpoints)

    def find(self, lookup: Lookup) -> Sequence[Contact]:
        """Everyone the key's endpoint gives; one person alone also has what is related."""
        endpoint = self._endpoints.get(lookup.key)
        if endpoint is None or not _is_unicode(lookup.value):
            return ()
        deadline = time.monotonic() + self._time_limit
        forms = search_forms(lookup.by(lookup.key))
        people = [self._contact(record) for record in self._records(endpoint, forms, deadline)]
        theirs = of_one(people, lookup, self.context.default_region)
        if not theirs or not self._related:
            return people
        person = people[theirs[0]]
        person = replace(person, details={**person.details, **self._more(person, deadline)})
        return [person, *(one for at, one in enumerate(people) if at not in theirs)]

    def check(self) -> None:
        """Ask `health`, or every endpoint about nobody.

        Raises:
            SourceError: the server cannot be asked, or one of the endpoints is wrong.
        """
        deadline = time.monotonic() + self._time_limit
        if self._health:
            self._answer(self._health, {}, {}, deadline, may_lack=False)
            return
        for key, endpoint in self._endpoints.items():
            forms = search_forms(Lookup(View.CONTACT, {key: _NOBODY[key]}))
            # A path that names nobody is there, or it is wrong.
            may_lack = bool(PLACEHOLDER.search(endpoint.path))
            answer = self._answer(endpoint, forms, {}, deadline, may_lack=may_lack)
            if answer is not None:
                _as_records(_selected(endpoint, answer), endpoint)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _records(
        self, endpoint: _Endpoint, values: Mapping[str, str], deadline: float
    ) -> list[Mapping[str, Any]]:
        data, more = self._data(endpoint, values, deadline)
        if more:
            raise SourceError(
                f"{endpoint.place} has more pages for one identity than max_pages; "
                "make it narrower or raise that",
                permanent=True,
            )
        return _as_records(data, endpoint)

    def _more(self, person: Contact, deadline: float) -> dict[str, Any]:
        """What the related endpoints know about a person."""
        known = {name: text(value) for name, value in person.details.items()}
        values = {**known, **forms_of(person, self.context.default_region)}
        more: dict[str, Any] = {}
        for name, endpoint in self._related.items():
            own = {needed: value for needed in endpoint.names if (value := values.get(needed))}
            asked = own.keys() == endpoint.names and all(map(_is_unicode, own.values()))
            data = self._data(endpoint, own, deadline)[0] if asked else None
            more[name] = [] if data is None else plain(data)
        return more

    def _data(
        self, endpoint: _Endpoint, values: Mapping[str, str], deadline: float
    ) -> tuple[Any, bool]:
        """What `data_selector` gives, of all pages together, and whether there are more pages."""
        paging = endpoint.pagination
        gathered: list[Any] = []
        page_params: Mapping[str, str] | None = {}
        for page in range(paging.max_pages if paging else 1):
            answer = self._answer(endpoint, values, page_params or {}, deadline)
            data = _selected(endpoint, answer) if answer else None
            if paging is None:
                return data, False
            if answer is None or data is None:
                return gathered, False
            if not isinstance(data, list):
                raise SourceError(
                    f"{endpoint.place}.data_selector gives no list, which pages are; correct it",
                    permanent=True,
                )
            gathered += data
            page_params = paging.after(page, answer, len(data), endpoint.place)
            if page_params is None:
                break
        return gathered, page_params is not None

    def _answer(
        self,
        endpoint: _Endpoint,
        values: Mapping[str, str],
        page_params: Mapping[str, str],
        deadline: float,
        *,
        may_lack: bool = True,
    ) -> Answer | None:
        """A success, or None where the server says that it does not know.

        Raises:
            SourceError: it cannot say.
        """
        params, body = _with(endpoint.params, values), _with(endpoint.json, values)
        if body is None:
            params |= page_params
        else:
            body |= page_params
        try:
            answer = self._client.request(
                endpoint.method,
                endpoint.path,
                values,
                params=params,
                json=body,
                time_limit=deadline - time.monotonic(),
            )
        except Unsendable:
            return None
        except HttpError as error:
            raise SourceError(f"{endpoint.place}: {error}", permanent=error.permanent) from None
        if answer.ok:
            _check_success(endpoint, answer)
            return answer
        missing = may_lack and answer.status == HTTPStatus.NOT_FOUND
        usual = "unknown" if missing else ""
        action = endpoint.response_actions.get(str(answer.status), usual)
        if action == "unknown":
            return None
        refused = answer.refused()
        permanent = action == "permanent" if action else refused.permanent
        raise SourceError(f"{endpoint.place}: {refused}", permanent=permanent)

    def _contact(self, record: Mapping[str, Any]) -> Contact:
        parts = self._mapping

        def part(name: str) -> Any:
            return select(parts[name], record, f"contact.{name}") if name in parts else None

        return Contact(
            name=" ".join(_flat_texts(part("name"))) or None,
            external_id=text(part("external_id")),
            contact_id=text(part("contact_id")),
            emails=texts(part("emails")),
            phones=texts(part("phones")),
            details=self._details(record),
        )

    def _details(self, record: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self._mapping.get("details", {})
        if isinstance(wanted, Mapping):
            found = {
                name: select(expression, record, f"contact.details.{name}")
                for name, expression in wanted.items()
            }
        else:
            found = select(wanted, record, "contact.details") or {}
            if not isinstance(found, Mapping):
                raise SourceError("contact.details gives no object; correct it", permanent=True)
        return {name: plain(value) for name, value in found.items() if value is not None}


def _client(options: Mapping[str, Any]) -> Client:
    """The client of the settings, with its way to prove who it is."""
    headers: dict[str, str] = dict(options["headers"])
    params: dict[str, str] = {}
    tokens = None
    limits = {"size_limit": options["size_limit"], "insecure": options["insecure"]}
    auth: Mapping[str, Any] = options["auth"] or {"type": ""}
    match auth["type"]:
        case "bearer":
            headers["Authorization"] = f"Bearer {auth['token']}"
        case "http_basic":
            headers["Authorization"] = basic(auth["username"], auth["password"])
        case "api_key":
            target = params if auth.get("location") == "query" else headers
            target[auth["name"]] = auth.get("prefix", "") + auth["api_key"]
        case "oauth2":
            tokens = ClientCredentials(
                Client(auth["token_url"], **limits),
                auth["client_id"],
                auth["client_secret"],
                scope=auth.get("scope"),
                params=auth.get("params", {}),
                in_header=auth.get("location") == "header",
            )
    return Client(options["base_url"], headers=headers, params=params, tokens=tokens, **limits)


def _selected(endpoint: _Endpoint, answer: Answer) -> Any:
    return select(endpoint.data_selector, answer.document, f"{endpoint.place}.data_selector")


def _as_records(data: Any, endpoint: _Endpoint) -> list[Mapping[str, Any]]:
    """The people among data: a list of objects, or one; nothing at all: nobody."""
    records = data if isinstance(data, list) else [data]
    records = [record for record in records if record is not None]
    if not all(isinstance(record, Mapping) for record in records):
        raise SourceError(
            f"{endpoint.place}.data_selector gives something else than objects; correct it",
            permanent=True,
        )
    return records


def _check_success(endpoint: _Endpoint, answer: Answer) -> None:
    """Raise SourceError where a success says that it is none."""
    if endpoint.error_selector is None:
        return
    if select(endpoint.error_selector, answer.document, f"{endpoint.place}.error_selector"):
        raise SourceError(
            f"{endpoint.place}: the server reports an error in an answer of success; "
            "compare path, params and json with its vendor's documentation"
        )


def _flat_texts(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [part.strip() for part in map(text, parts) if part]


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
