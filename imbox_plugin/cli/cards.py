"""`flask lookup`: a card, drawn in the terminal."""

from __future__ import annotations

import click
from marshmallow import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel as Frame
from rich.table import Table
from rich.text import Text

from imbox_plugin.cli.common import load_service, print_remarks
from imbox_plugin.html import text_lines, witnessed
from imbox_plugin.model import (
    AccordionElement,
    Block,
    Element,
    Finding,
    HtmlElement,
    ListElement,
    Outcome,
    Reply,
    View,
)
from imbox_plugin.web.webhook import DEFAULT_PANEL

#: the panel's documented width is about 290 pixels; a terminal card of this width reads alike
_WIDTH = 64


@click.command("lookup")
@click.option(
    "--view", type=click.Choice([view.value for view in View]), default="contact", show_default=True
)
@click.option("--email")
@click.option("--phone")
@click.option("--external-id")
@click.option("--contact-id")
@click.option("--ticket-id")
@click.option("--channel-id")
@click.option("--call-id")
@click.option("--panel", "name", help="Which panel; the default one, or the only one.")
@click.option("--strict", is_flag=True, help="Fail where anything deserves a look, for CI.")
def lookup(name: str | None, *, strict: bool, **asked: str | None) -> None:
    """Show the card that an agent would see, and how the sources came to it."""
    _, service = load_service()
    if not service.panels:
        says = "all panels probe, and a probe shows no customers; add a panel without probe"
        raise click.ClickException(says)
    name = name or (DEFAULT_PANEL if DEFAULT_PANEL in service.panels else min(service.panels))
    if name not in service.panels:
        raise click.ClickException(f"no panel {name}; there are: {', '.join(service.panels)}")
    fields = service.lookup_schema.fields
    parameters = {
        fields[option].data_key or option: [value] for option, value in asked.items() if value
    }
    try:
        question = service.read(parameters)
    except ValidationError as error:
        reasons = [f"{name}: {' '.join(texts)}" for name, texts in error.messages_dict.items()]
        raise click.ClickException("; ".join(reasons)) from None
    with witnessed() as witness:
        answer = service.panels[name].answer(question)
    for line in filter(None, (answer.reply.contact_name, _link(answer.reply))):
        click.secho(line, bold=True)
    Console(highlight=False).print(card(answer.reply))
    for finding in answer.findings:
        click.echo(f"{finding.source}: {_told(finding)}")
    remarks = service.linter.card(answer.reply, witness.made)
    print_remarks(remarks)
    if strict and remarks:
        raise click.exceptions.Exit(1)


def card(reply: Reply) -> RenderableType:
    """The blocks of a reply as an agent reads them."""
    return Group(*map(_block, reply.blocks))


def _link(reply: Reply) -> str | None:
    return f"{reply.contact_link.text}: {reply.contact_link.url}" if reply.contact_link else None


def _block(block: Block) -> RenderableType:
    elements = Group(*(_element(element) for element in block.data))
    title = Text(f"{block.name} ({block.icon})")
    return Frame(elements, title=title, title_align="left", width=_WIDTH)


def _element(element: Element) -> RenderableType:
    if isinstance(element, ListElement):
        grid = Table.grid(padding=(0, 2))
        for row in element.rows:
            grid.add_row(Text(row.label, style="dim"), Text(row.text))
        return grid
    if isinstance(element, HtmlElement):
        return Text("\n".join(text_lines(element.html)), style="italic")
    if isinstance(element, AccordionElement):
        inside = Group(*(_element(part) for part in element.data))
        return Group(Text(f"▾ {element.title}", style="bold"), Padding(inside, (0, 0, 0, 2)))
    table = Table(box=None, pad_edge=False)
    for header in element.headers:
        table.add_column(Text(header))
    for cells in element.rows:
        table.add_row(*map(Text, cells))
    return table


def _told(finding: Finding) -> str:
    unasked = "not asked" if finding.reason else "has no key for this"
    asked = f"asked by {', '.join(finding.asked)}" if finding.asked else unasked
    dropped = f", {finding.dropped} dropped: not the identity asked for" if finding.dropped else ""
    count = f" ({finding.count})" if finding.outcome is Outcome.AMBIGUOUS else ""
    via = f", about whom {finding.match.via} found" if finding.match and finding.match.via else ""
    reason = f": {finding.reason}" if finding.reason else ""
    kept = f", as it was {round(finding.age)} s ago" if finding.age else ""
    return f"{finding.outcome}{count}, {asked}{kept}{via}{dropped}{reason}"
