from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st
from inscriptis.css_profiles import STRICT_CSS_PROFILE

from connectors.messages.text import rendering
from connectors.messages.text.html import MAX_HTML_CHARS, html_to_text
from connectors.messages.text.markup import MAX_ELEMENTS, MAX_KEPT_CHARS

PIECES = st.sampled_from([
    "<p>", "</p>", "<div style='display:none'>", "</div>", "<table>", "<tr>", "<td>", "</table>", "<a href=x>",
    '<a href="https://a.example/?b">', "<ul>", "<li>", "<blockquote>", "</blockquote>", "<br>", "<pre>",
    "</pre>", "<q>", "</a>", "<template>", "<svg>",
    "<img alt=x>", "<!--", "-->", "<script>", "</script>", "<", ">", "&amp;", "&lt;", "&#0;", "&#xD800;", "&nbsp;",
    '"', "text", " ", "\n", "\0", "\ud800", "😀", "<b", "<at>", "</at>", "<attachment id=1>", "<ol>", "<frameset>",
    "<plaintext>", "<o:p>", "<![CDATA[", "<?xml ?>", "\ue000", "\ue002",
])  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(alphabet=st.characters(), max_size=100))
def test_no_html_makes_it_fail(html: str) -> None:
    html_to_text(html).encode("utf-8")


def test_blocks_lists_and_emphasis_read_as_text() -> None:
    html = "<h1>Plan</h1><p>Hello <b>Tom</b>,<br>see:</p><ul><li>one<li>two<ul><li>deeper</ul></ul><ol><li>first</ol>"

    assert html_to_text(html) == "Plan\n\nHello Tom,\nsee:\n\n  * one\n  * two\n      + deeper\n 1. first"


def test_the_rows_of_a_table_stay_rows() -> None:
    html = (
        "<table><tr><th>Item</th><th>Price</th></tr>"
        "<tr><td><p class=MsoNormal>Logo<o:p></o:p></p></td><td><p>450 EUR</p></td></tr>"
        "<tr><td>Domain<br>one year</td><td>12 EUR</td></tr></table>"
    )

    assert html_to_text(html) == "Item | Price\nLogo | 450 EUR\nDomain / one year | 12 EUR"


def test_the_columns_of_a_page_stand_below_one_another() -> None:
    story = "a long story " * 20

    text = html_to_text(f"<table><tr><td><p>{story}</p><p>more</p></td><td><p>{story}</p></td></tr></table>")

    assert " | " not in text
    assert text.split("\n\n")[1].startswith("more\na long story")


def test_links_keep_their_targets() -> None:
    assert html_to_text('<a href="https://a.example/x?b=1&amp;c=2">the plan</a>') == (
        "[the plan](https://a.example/x?b=1&c=2)"
    )


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://a.example/">https://a.example</a>', "https://a.example"),
        ('<a href="mailto:ann@bee.example">ann@bee.example</a>', "ann@bee.example"),
        ('<a href="#top">up</a>', "up"),
        ('<a href="javascript:alert(1)">click</a>', "click"),
        ('<a href="cid:1"><img src="cid:1"></a>x', "x"),
        ('<a href="https://a.example/"><img src="x.png"></a>x', "x"),
    ],
)
def test_a_target_that_tells_a_reader_nothing_is_left_out(html: str, text: str) -> None:
    assert html_to_text(html) == text


def test_what_a_tracker_puts_into_a_link_is_left_out() -> None:
    text = html_to_text(f'<a href="https://a.example/plan?id={"0123456789abcdef" * 20}">plan</a>')

    assert text == "[plan](https://a.example/plan?…)"


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>secret()</script>",
        "<SCRIPT>if (a<b) secret()</SCRIPT >",
        "<style>secret{}</style>",
        "<title>secret</title>",
        "<!-- secret -->",
        "<!--[if mso]><p>secret</p><![endif]-->",
        '<div style="display:none;font-size:1px">secret<p>secret</p></div>',
        '<div style="DISPLAY : NONE !important">secret</div>',
        '<span style="color:red;visibility: hidden">secret</span>',
        '<span style="opacity:0">secret</span>',
        '<div style="max-height:0px;overflow:hidden">secret</div>',
        "<p hidden>secret</p>",
        '<table style="display:none"><tr><td>secret</td></tr></table>',
        '<img src="https://t.example/o.gif" alt="secret" width="1" height="1">',
        '<img alt="secret" style="display:none">',
        '<div title="secret" data-x="secret">',
    ],
)
def test_what_a_reader_does_not_see_is_left_out(hidden: str) -> None:
    assert html_to_text(f"<p>before</p>{hidden}<p>after</p>") == "before\n\nafter"
    deep = "<div>" * 300 + f"<p>before</p>{hidden}<p>after</p>"
    assert html_to_text(deep).split() == ["before", "after"]


@pytest.mark.parametrize("style", ["opacity:0.9", "max-height:0.5em", "font-size:0", "display:block", "mso-hide:all"])
def test_what_only_looks_like_hidden_is_kept(style: str) -> None:
    assert html_to_text(f'<p style="{style}">text</p>') == "text"


def test_an_unclosed_hidden_paragraph_does_not_hide_the_next_one() -> None:
    assert html_to_text('<p style="display:none">secret<p>text') == "text"


def test_pictures_become_their_words() -> None:
    assert html_to_text('<img alt="Our new logo" src=x><img src=y><img alt="👍">') == "(image: Our new logo)👍"


def test_quoted_blocks_are_marked_line_by_line() -> None:
    html = (
        "<p>my answer</p><div>On Monday Bob wrote:</div>"
        "<blockquote><p>first</p><p>second<br>line</p><blockquote>older</blockquote></blockquote><p>below</p>"
    )

    assert html_to_text(html) == (
        "my answer\n\nOn Monday Bob wrote:\n> first\n>\n> second\n> line\n>\n>> older\n\nbelow"
    )


def test_entities_are_decoded_once() -> None:
    html = "<table><tr><td><table><tr><td>write &amp;lt;b&amp;gt; &amp; &lt;i&gt;</td></tr></table></td></tr></table>"

    assert html_to_text(html) == "write &lt;b&gt; & <i>"


def test_brackets_that_open_no_element_are_text() -> None:
    assert html_to_text("1 < 2 <3 a <- b") == "1 < 2 <3 a <- b"


def test_an_apostrophe_in_an_attribute_without_quotes_swallows_nothing() -> None:
    assert html_to_text("<p title=Don't>one</p><p>it's two</p>") == "one\n\nit's two"


def test_preformatted_text_keeps_its_lines() -> None:
    assert html_to_text("<pre>a\n   b</pre>") == "a\n   b"
    assert html_to_text('<div style="white-space: pre-wrap">a\nb</div>') == "a\nb"


def test_a_chat_message_names_people_and_files() -> None:
    html = (
        '<div><at id="0">Ann Bee</at>&nbsp;see this <emoji id="smile" alt="🙂"></emoji></div>'
        '<attachment id="5E32A2"></attachment><attachment id="unknown"></attachment>'
    )

    text = html_to_text(html, attachments={"5e32a2": "<plan> & co.pdf"})

    assert text == "@Ann Bee see this 🙂\n[attachment: <plan> & co.pdf][attachment]"


def test_a_system_message_of_a_chat_is_empty() -> None:
    assert html_to_text("<systemEventMessage/>") == ""


@pytest.mark.parametrize("levels", [150, 199, 200, 201, 255, 256, 257, 400, 1_200, 5_000])
def test_the_text_at_the_bottom_of_deep_html_is_there(levels: int) -> None:
    text = html_to_text("<p>top</p>" + "<div>" * levels + "bottom" + "</div>" * levels + "<p>tail</p>")

    assert text.split() == ["top", "bottom", "tail"]


def test_deep_html_keeps_rows_and_quotes() -> None:
    html = "<div>" * 400 + (
        "<table><tr><td>Item</td><td>12 EUR</td></tr><tr><td>a</td><td>b</td></tr></table>"
        "<blockquote>quoted<br>lines</blockquote>tail"
    )

    assert html_to_text(html) == "Item | 12 EUR\n\na | b\n\n> quoted\n> lines\n\ntail"


def test_what_is_not_read_is_counted_in_the_last_line() -> None:
    html = "<p>word</p>" * 1_000

    text = html_to_text(html, limit=1_100)

    assert text.count("word") == 100
    assert text.endswith("\n[… 9,900 more characters of HTML]")


def test_more_elements_or_text_than_a_mail_has_are_cut_and_that_is_told() -> None:
    assert "more characters of HTML]" in html_to_text("<b>x</b>" * (MAX_ELEMENTS + 10))
    assert "more characters of HTML]" in html_to_text("word " * MAX_KEPT_CHARS)
    assert "more characters" not in html_to_text("<style>" + "x{} " * 300_000 + "</style><p>text</p>")


MIB = MAX_HTML_CHARS
WORST = {
    "inline elements in one line": ("<b>" + "x" * 13 + "</b>") * 20_000,
    "wide characters in one line": ("<b>" + "😀" * 13 + "</b>") * 20_000,
    "open elements": "<div>x" * 100_000,
    "open paragraphs": "<p>x" * 300_000,
    "open formatting": "<b><i><u><s><tt><em><strong><code><big><small><font><strike>" + "<p>x" * 20_000,
    "rows": "<table>" + "<tr><td>x<td>y" * 50_000,
    "a wide cell above many rows": "<table>" + "<tr><td>x<td>y" * 6_000 + "<tr><td>" + "z" * 300_000,
    "nested tables with many lines": "<table><tr><td>a<td>" * 45 + "x<br>" * 19_000,
    "nested tables": "<table>" * 20_000,
    "nested lists": "<ul>" * 190 + "<li>x" * 20_000,
    "margins": '<p style="margin-top:100000em;padding-left:100000em">x' * 5_000,
    "attributes": "<p " + " ".join(f"a{number}=1" for number in range(150_000)) + ">x",
    "links": '<a href="http://x.example">x' * 60_000,
    "forms": "<form><div>" * 10_000,
    "open brackets": "<" * MIB,
    "open tags": "<a " * (MIB // 3),
    "open quotes": '<a b="' * (MIB // 6),
    "open comments": "<!--" * (MIB // 4),
    "open scripts": "<script>" * (MIB // 8),
    "quoted blocks": "<blockquote>" * 20_000 + "x",
    "link text": "[a](" * (MIB // 4),
    "spaces": " " * MIB,
    "entities": "&amp;" * (MIB // 5),
}


@pytest.mark.parametrize("name", WORST)
@pytest.mark.timeout(30)
def test_the_worst_html_comes_to_an_end(name: str) -> None:
    text = html_to_text(WORST[name])

    assert len(text) < 2 * MIB


def test_documents_that_are_read_at_the_same_time_do_not_mix() -> None:
    def read(number: int) -> set[str]:
        return set(html_to_text(f"<p>{number}</p>" * 20).split())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(read, range(2_000)))
    finally:
        sys.setswitchinterval(interval)

    assert texts == [{str(number)} for number in range(2_000)]


def test_no_state_of_the_renderer_is_shared() -> None:
    assert rendering._config().css["body"] is not rendering._config().css["body"]
    assert rendering._config().css["body"] is not STRICT_CSS_PROFILE["body"]
