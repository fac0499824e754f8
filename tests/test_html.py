import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import html5lib
import pytest
from html5lib.constants import DataLossWarning
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from imbox_plugin.html import ATTRIBUTES, LONGEST, REL, SCHEMES, TAGS, Sanitizer, text_lines

XHTML = "{http://www.w3.org/1999/xhtml}"
ENGINES = {engine: Sanitizer(engine) for engine in ("nh3", "bleach")}
engines = pytest.mark.parametrize("sanitizer", ENGINES.values(), ids=ENGINES)

PAYLOADS = [
    # script, plainly and in disguise
    "<script>alert(1)</script>",
    "<SCRIPT SRC=https://evil.example/x.js></SCRIPT >",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<scr<font x>ipt>alert(1)</script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<script\x0c>alert(1)</script\x0c>",
    "<<script>alert(1)//<</script>",
    "<script/xss>alert(1)</script>",
    "<\u017fcript>alert(1)</\u017fcript>",
    "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>",
    "<image href=x onerror=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<b/onmouseover=alert(1)>x</b>",
    "<p title=x lang=sv dir=ltr>x",
    "<p ONCLICK\n=\nalert(1)>x",
    "<details open ontoggle=alert(1)>x</details>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object><embed src=javascript:alert(1)>",
    "<base href=https://evil.example/><link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action=javascript:alert(1)><button formaction=javascript:alert(1)>x</button></form>",
    "<p style='background:url(javascript:alert(1))' class=a id=b>x</p>",
    "<template><script>alert(1)</script></template>",
    "<a href=https://x.example target=_top ping=//evil.example download rel=opener>x</a>",
    "<a href=https://x.example HREF=javascript:alert(1)>x</a>",
    '<a title="&quot; onmouseover=&quot;alert(1)" href="https://x.example/?a=&quot;&gt;<img>">x</a>',
    "<table background=javascript:alert(1)><td background=x>x",
    # script by the attributes of a framework
    "<div hx-get=https://evil.example hx-trigger=load>x</div>",
    "<div data-hx-get=https://evil.example data-hx-trigger=load>x</div>",
    "<div hx-on::load=alert(1) hx-on:click=alert(1)>x</div>",
    "<div x-data x-init=alert(1) @click=alert(1) :href=a>x</div>",
    "<div v-html=a v-on:click=alert(1)>{{constructor.constructor('alert(1)')()}}</div>",
    "<div data-bind='text: alert(1)' data-action='click->x#y' _='on load alert(1)'>x</div>",
    "<div ng-app ng-csp ng-click=$event.view.alert(1)>x</div>",
    # markup that changes when it is parsed again
    "<svg><p><style><img src=x onerror=alert(1)></style></p></svg>",
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img onerror=1&gt;">',
    "<math><annotation-xml encoding=text/html><style><img src onerror=alert(1)></style></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a><animate onbegin=alert(1) /></svg>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
    '<textarea><p title="</textarea><img src=x onerror=alert(1)>">',
    '<title><a title="</title><script>alert(1)</script>">',
    '<xmp><p title="</xmp><img src=x onerror=alert(1)>"></xmp>',
    '<select><template><style><a title="</style><script>alert(1)</script>">',
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--x--!><script>alert(1)</script><!-- -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version=1?><script>alert(1)</script>",
    "<a><table><a><tr><b><td></a><p></b><li><li></td></table>",
    '<p <script>alert(1)</script> title="<b x">x <b y',
    "<plaintext><script>alert(1)</script>",
]
LINKS = [
    "javascript:alert(1)",
    "javascript:123",
    "JaVaScRiPt:alert(1)",
    "java\u200bscript:alert(1)",
    "java\nscript:alert(1)",
    "java&#10;script:alert(1)",
    "java&Tab;script&colon;alert(1)",
    "\x01javascript:alert(1)",
    "&#1;javascript:alert(1)",
    "\u00a0javascript:alert(1)",
    "&#x6A;avascript:alert(1)",
    "&amp;#106;avascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "blob:https://x.example/1",
    "file:///etc/passwd",
    "ftp://x.example",
    "http://x.example",
    "cid:1",
    "localhost:8000",
    "view-source:https://x.example",
    "http\u017f://x.example",
    "https&NewLine",
    "//evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "/path",
    "path",
    "?query",
    "#fragment",
    "./https://x.example",
    "",
]


def audit(markup):
    """What stands in the markup, as a browser would read it, that the policy does not allow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        fragment = html5lib.parseFragment(markup)
        document = html5lib.parse(markup).find(f"{XHTML}body")
    found = []
    for element in (*list(fragment.iter())[1:], *list(document.iter())[1:]):
        tag = str(element.tag).removeprefix(XHTML)
        if tag not in TAGS:  # a comment's tag is a function, a foreign element keeps its namespace
            found.append(tag)
        allowed = ATTRIBUTES.get(tag, frozenset())
        for name, value in element.attrib.items():
            if name == "href" and tag == "a":
                url = re.sub(r"[\t\n\r]", "", value).strip("".join(map(chr, range(33)))).lower()
                if url.partition(":")[0] not in SCHEMES or ":" not in url:
                    found.append(f"href={value}")
            elif name not in allowed and (tag, name, value) != ("a", "rel", REL):
                found.append(f"{name}={value}")
    return found


def escapes(sanitizer, markup):
    once = sanitizer.clean(markup)
    return audit(once) + audit(sanitizer.clean(once))


def test_the_policy_holds_nothing_that_acts_loads_or_is_styled():
    tags = """
        audio base body button embed form frame html iframe img input link math meta noscript object
        option script select slot source style svg template textarea title video
    """
    attributes = {name for names in ATTRIBUTES.values() for name in names}

    assert not TAGS & set(tags.split())
    assert attributes == {
        *("colspan", "datetime", "href", "open", "rowspan", "scope", "start", "title"),
    }
    assert set(SCHEMES) == {"https", "mailto", "tel"}


@pytest.mark.parametrize("payload", PAYLOADS)
@engines
def test_nothing_outside_the_policy_survives(sanitizer, payload):
    assert escapes(sanitizer, payload) == []


@pytest.mark.parametrize("url", LINKS)
@engines
def test_a_link_elsewhere_than_the_allowed_schemes_loses_its_address(sanitizer, url):
    cleaned = sanitizer.clean(f'<a href="{url}">x</a>')

    assert "href" not in cleaned
    assert "x</a>" in cleaned


@pytest.mark.parametrize(
    "payload",
    [
        "<script>1</script>",
        "<p onclick=x>x</p>",
        "<p data-x=1>x</p>",
        "<p title=x>x</p>",
        "<a href=javascript:1>x</a>",
        "<a href=/path>x</a>",
        "<a rel=opener>x</a>",
        "<svg></svg>",
        "<!-- x -->",
    ],
)
def test_the_audit_sees_what_is_not_allowed(payload):
    assert audit(payload)


@pytest.mark.parametrize(
    "name",
    [
        "xss_ammonia_tests",
        "xss_bleach_tests",
        "xss_dompurify_expect",
        "xss_framework_attribute_gadgets",
        "xss_html5lib_sanitizer",
        "xss_html_sanitizer_tests",
        "xss_justhtml_tests",
        "xss_lxml_html_clean_tests",
        "xss_wpt_sethtml_safety",
        "html_html5lib_tree_construction",
    ],
)
@engines
def test_no_known_attack_survives(sanitizer, name, corpus):
    payloads = [case["payload"] for case in corpus(name)]
    survivors = {payload: found for payload in payloads if (found := escapes(sanitizer, payload))}

    assert survivors == {}


@pytest.mark.parametrize(
    "name", ["xss_dompurify_expect", "xss_justhtml_tests", "html_html5lib_tree_construction"]
)
def test_the_text_of_a_known_attack_is_lines_without_controls(name, corpus):
    lines = [line for case in corpus(name) for line in text_lines(case["payload"])]

    assert lines
    assert [line for line in lines if not line or re.search(r"[\x00-\x1f\x7f-\x9f]", line)] == []


HOSTILE_TAGS = """
    annotation-xml base desc embed font foreignObject form iframe img input math mglyph mtext nobr
    noscript object option plaintext script select style svg template textarea title xmp
"""
HOSTILE_ATTRIBUTES = """
    class id style onclick onerror target rel src srcdoc action formaction xlink:href xmlns lang
    data-hx-get hx-on:click x-init @click < " ' =
"""
TAG_NAMES = st.one_of(*[st.sampled_from(sorted(TAGS))] * 3, st.sampled_from(HOSTILE_TAGS.split()))
ATTRIBUTE_NAMES = st.one_of(
    st.sampled_from(["href", *sorted(set().union(*ATTRIBUTES.values()))]),
    st.sampled_from(HOSTILE_ATTRIBUTES.split()),
)
VALUES = st.one_of(
    st.sampled_from([*LINKS, "https://x.example", "</style><img src=x onerror=alert(1)>", "-->"]),
    st.text(max_size=8),
)
QUOTES = st.sampled_from(['"', '"', "'", "", "`"])
SPACES = st.sampled_from([" ", " ", "\n", "\x0c", "/", ""])
ENDS = st.sampled_from([">", ">", ">", "/>", ""])
ODDITIES = ["<!--", "-->", "--!>", "<![CDATA[", "]]>", "<?", "<!doctype html>", "</", "<", ">", "&"]
ODDITIES += ["&lt;img&gt;", "&#60;", "&#0;", "&#xD800;", "&#1;", "&amp", "\0", "\ud800", "\r"]


@st.composite
def start_tags(draw):
    attributes = st.tuples(SPACES, ATTRIBUTE_NAMES, QUOTES, VALUES)
    written = [
        f"{space}{name}={quote}{value}{quote}"
        for space, name, quote, value in draw(st.lists(attributes, max_size=3))
    ]
    return f"<{draw(TAG_NAMES)}{''.join(written)}{draw(ENDS)}"


@st.composite
def elements(draw):
    name = draw(TAG_NAMES)
    return f"<{name}>{draw(MARKUP)}</{name}>"


MARKUP = st.lists(
    st.one_of(
        start_tags(),
        st.tuples(QUOTES, VALUES).map(lambda parts: "<a href={0}{1}{0}>".format(*parts)),
        st.deferred(elements),
        TAG_NAMES.map("</{}>".format),
        st.sampled_from(ODDITIES),
        st.text(st.characters(), max_size=5),
    ),
    max_size=8,
).map("".join)


@engines
@given(markup=MARKUP)
@settings(max_examples=500, deadline=None)
def test_no_grammar_of_hostile_markup_escapes(sanitizer, markup):
    assert escapes(sanitizer, markup) == []


@given(markup=MARKUP)
@settings(max_examples=500, deadline=None)
def test_any_markup_has_lines_of_text(markup):
    for line in text_lines(markup):
        assert line == " ".join(line.split()) != ""
        assert line.encode()
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@engines
@given(markup=st.text(st.characters()))
@settings(deadline=None)
def test_any_text_can_be_cleaned_and_sent(sanitizer, markup):
    cleaned = sanitizer.clean(markup)

    assert audit(cleaned) == []
    assert cleaned.encode().decode() == cleaned


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("", ""),
        (
            "Åsa Öberg: “åäö ß €” \U0001f600",
            "Åsa Öberg: “åäö ß €” \U0001f600",
        ),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<p>one<p>two", "<p>one</p><p>two</p>"),
        ("<h2>Note</h2><ul><li>a<li>b</ul>", "<h2>Note</h2><ul><li>a</li><li>b</li></ul>"),
        ("<center><blink>x</blink></center>", "<center>x</center>"),
        ('<p style="color:red" class=x id=y data-z=1 dir=ltr>x</p>', "<p>x</p>"),
        ('<b title="x">y</b>', "<b>y</b>"),
        ('<ol start="3"><li>x</ol>', '<ol start="3"><li>x</li></ol>'),
        (
            "<table><tr><th scope=col>x<td colspan=2>y</table>",
            '<table><tbody><tr><th scope="col">x</th><td colspan="2">y</td></tr></tbody></table>',
        ),
        (
            '<a href="https://x.example/?a=1&amp;b=2" target=_blank rel=opener>x</a>',
            f'<a href="https://x.example/?a=1&amp;b=2" rel="{REL}">x</a>',
        ),
        ("<a href=mailto:a@x.example>x</a>", f'<a href="mailto:a@x.example" rel="{REL}">x</a>'),
        ("<a href=TEL:+46701740605>x</a>", f'<a href="TEL:+46701740605" rel="{REL}">x</a>'),
        ("<a>x</a>", f'<a rel="{REL}">x</a>'),
        ("a<!-- b -->c<!-- <script> -->d", "acd"),
        ("a<script>b<i>c</i></script >d", "ad"),
        ("a<style>b{}</style>c<title>d</title>e<template><p>f</p></template>g", "aceg"),
        ("a<script>b", "a"),
        ("<svg/>a<svg><circle/></svg>b", "ab"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("a\x00b\x0bc\x1bd\x85e\ud800f", "abcdef"),
        (Markup("<b>x</b> & y"), "<b>x</b> &amp; y"),
    ],
)
@engines
def test_markup_leaves_as_the_policy_says(sanitizer, markup, expected):
    assert sanitizer.clean(markup) == expected


@engines
def test_formatting_left_open_does_not_multiply(sanitizer):
    bomb = "<p>" + "".join(f"<b x{n}>" for n in range(300)) + "<p>x" * 300

    assert len(sanitizer.clean(bomb)) < 10 * len(bomb)


@pytest.mark.parametrize("unit", ["<div>", "<b><p>", "<table><tr><td>", "<!--", "<a x='", "&", "<"])
@engines
def test_deep_and_broken_markup_is_survived(sanitizer, unit):
    assert isinstance(sanitizer.clean(unit * 1000), str)
    assert isinstance(text_lines(unit * 1000), tuple)


@pytest.mark.parametrize("tail", ["x", "<b>", "<a title='", " <i"])
@engines
def test_markup_that_is_too_long_ends_with_an_ellipsis(sanitizer, tail):
    start = "x" * (LONGEST - 2)

    assert len(sanitizer.clean(start + tail * LONGEST)) < LONGEST + 20
    assert re.search(r"…(</\w+>)*\Z", sanitizer.clean(start + tail * LONGEST))
    assert text_lines(start + tail * LONGEST)[-1].endswith("…")
    assert sanitizer.clean(start) == start


@engines
def test_threads_get_the_answers_one_would_get(sanitizer):
    expected = [sanitizer.clean(payload) for payload in PAYLOADS]
    barrier = Barrier(16)

    def clean_all():
        barrier.wait()
        return [sanitizer.clean(payload) for payload in PAYLOADS]

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(clean_all) for _ in range(16)]

        assert all(answer.result() == expected for answer in answers)


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match='no sanitizer "lxml"; use "nh3" or "bleach"'):
        Sanitizer("lxml")


def test_the_engine_of_choice_needs_no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bleach.sanitizer", None)

    assert Sanitizer().clean("<b>x") == "<b>x</b>"


def test_an_engine_that_is_not_installed_is_refused_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "bleach.sanitizer", None)

    with pytest.raises(ValueError, match=re.escape("pip install 'imbox-plugin[bleach]'")):
        Sanitizer("bleach")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("", ()),
        (" <p> </p><br>&nbsp;", ()),
        ("Åsa &amp; Örjan", ("Åsa & Örjan",)),
        ("&lt;b&gt; &amp;lt;", ("<b> &lt;",)),
        ("one\n  two&nbsp;three", ("one two three",)),
        ("a<br>b<hr>c", ("a", "b", "c")),
        ("<p>a <b>b</b>c</p>d<div>e<p>f</div>", ("a bc", "d", "e", "f")),
        ("<h1>a</h1><ul><li>b<ul><li>c</ul><li>d</ul>e", ("a", "b", "c", "d", "e")),
        ("<dl><dt>a<dd>b</dl>", ("a", "b")),
        ("<pre>a\n\n  b\tc\n</pre>d\ne", ("a", "b c", "d e")),
        ("<details><summary>a</summary>b</details>", ("a", "b")),
        ("<a href='https://x.example'>a</a> <span title=x>b</span>", ("a b",)),
        ("a<script>b</script><style>c</style><!-- d -->e<title>f</title>", ("ae",)),
        ("<img alt=x onerror=y>a<unknown>b</unknown>", ("ab",)),
        ("a&#0;b&#1;c\x00\ud800d", ("a\ufffdbcd",)),
        ("<table><caption>a<tr><th>b<th>c<tr><td>d<td>e</table>f", ("a", "b | c", "d | e", "f")),
        ("<table><tr><td><p>a</p><td><td><p>b</p></table>", ("a | b",)),
        ("<table><tr><td>a<br>b<td>c</table>", ("a", "b", "c")),
        ("<table><tr><td><table><tr><td>a<td>b</table><td>c</table>", ("a | b | c",)),
        ("<table><tr><tr><td></table>a</td></tr>b", ("ab",)),
    ],
)
def test_the_lines_of_text_are_those_a_reader_would_see(markup, expected):
    assert text_lines(markup) == expected
