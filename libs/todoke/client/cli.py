"""The offices' commands of the command line: `register` hangs them into the group `todoke`."""

import click

from todoke.client.fetching_command import fetch
from todoke.client.list_commands import offices, received, sent, show
from todoke.client.login_command import login, logout
from todoke.client.recall_command import recall
from todoke.client.sending_commands import check, demo_files, send
from todoke.client.watch_command import watch


def register(group: click.Group) -> None:
    """Add the offices' commands to a group."""
    for command in (login, logout, send, check, sent, received, fetch, show, recall, watch, offices, demo_files):
        group.add_command(command)
