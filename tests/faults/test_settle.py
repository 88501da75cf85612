"""The judge of every fault test is judged: each kind of broken account is found."""

import copy
import dataclasses
from collections.abc import Callable

import pytest

from tests.faults.traffic import Account, Arrival, Promise, settle

ONE, OTHER = "9970100117", "9970100216"


def an_account() -> Account:
    """Two senders, two recipients, ten messages; delivery numbers go on after 7."""
    made = Account(before={ONE: 7})
    for place in range(10):
        sender, recipient = ("A", "B")[place % 2], (ONE, OTHER)[place // 5]
        made.promises.append(Promise(f"m{place}", sender, recipient, place, (f"sha{place}",)))
        number = made.before.get(recipient, 0) + len(made.collected[recipient]) + 1
        made.collected[recipient].append(Arrival(number, f"m{place}", (f"sha{place}",)))
    return made


def lost(account: Account) -> None:
    account.collected[ONE].pop()


def twice(account: Account) -> None:
    again = account.collected[ONE][0]
    account.collected[ONE].append(dataclasses.replace(again, number=account.collected[ONE][-1].number + 1))


def swapped(account: Account) -> None:
    rows = account.collected[ONE]
    first, third = rows[0], rows[2]
    rows[0] = dataclasses.replace(third, number=first.number)
    rows[2] = dataclasses.replace(first, number=third.number)


def other_bytes(account: Account) -> None:
    account.collected[OTHER][1] = dataclasses.replace(account.collected[OTHER][1], digests=("sha",))


def a_gap(account: Account) -> None:
    rows = account.collected[OTHER]
    rows[-1] = dataclasses.replace(rows[-1], number=rows[-1].number + 1)


def a_number_twice(account: Account) -> None:
    rows = account.collected[OTHER]
    rows[-1] = dataclasses.replace(rows[-1], number=rows[-2].number)


def the_wrong_office(account: Account) -> None:
    one, other = account.collected[ONE], account.collected[OTHER]
    one[-1], other[0] = (
        dataclasses.replace(other[0], number=one[-1].number),
        dataclasses.replace(one[-1], number=other[0].number),
    )


def from_nowhere(account: Account) -> None:
    rows = account.collected[ONE]
    rows.append(Arrival(rows[-1].number + 1, "unknown", ("sha",)))


def one_for_two_promises(account: Account) -> None:
    account.promises.append(dataclasses.replace(account.promises[0], place=99))


def test_a_good_account_is_settled() -> None:
    settle(an_account())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lost, "lost"),
        (twice, "twice"),
        (swapped, "out of order"),
        (other_bytes, "other bytes"),
        (a_gap, "not dense"),
        (a_number_twice, "not dense"),
        (the_wrong_office, "somebody else's"),
        (from_nowhere, "nobody was promised"),
        (one_for_two_promises, "two promises"),
    ],
)
def test_a_broken_account_is_found(damage: Callable[[Account], None], sentence: str) -> None:
    account = copy.deepcopy(an_account())
    damage(account)
    with pytest.raises(AssertionError, match=sentence):
        settle(account)
