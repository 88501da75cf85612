"""Who acts on messages in the making."""

from dataclasses import dataclass

from todoke.client import AsyncClient, Session


@dataclass(frozen=True, slots=True)
class Clerk:
    """A person at an office, and a client of the API that acts as this person."""

    office: str
    office_name: str
    service_types: tuple[str, ...]
    person: str
    name: str
    client: AsyncClient

    @classmethod
    def of(cls, session: Session, client: AsyncClient) -> "Clerk":
        """The person of a session."""
        user = session.user
        return cls(
            office=session.office.number,
            office_name=session.office.name,
            service_types=session.office.service_types,
            person=user.id if user else "",
            name=user.name if user else "",
            client=client,
        )
