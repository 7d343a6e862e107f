"""A sign-up in your own application: its account and its verification are committed together, or neither is.

    ONBOARDING_CONFIG=onboarding.toml python examples/from_your_app.py

needs a database that is up to date (`onboard db upgrade`). The session is SQLAlchemy's, as a FastAPI or Flask project
has one for each request. docs/reference/library.md has the same for Django.
"""

import sys

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from onboarding_worker import EventRefused, request_onboarding
from onboarding_worker.settings.load import load


class Base(DeclarativeBase):
    pass


class Account(Base):
    """A table of yours, in the worker's database."""

    __tablename__ = "your_account"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


def sign_up(session: Session, email: str, name: str) -> tuple[int, list[str]]:
    """Handle POST /sign-up. Returns the HTTP status and the problems of the form."""
    account = Account(email=email)
    session.add(account)
    session.flush()
    data = {
        "customer_id": f"account-{account.id}",
        "email": email,
        "first_name": name,
        "invite_after": "30 minutes",  # the customer is in the app now; the email is for a customer who leaves
    }
    try:
        # The id is always the same for one sign-up, so a sign-up that is sent twice is accepted once.
        request_onboarding(data, source="/sign-up", id=str(account.id), connection=session)
    except EventRefused as refused:
        session.rollback()
        return 422, [f"{found.column}: {found.problem}" for found in refused.problems]
    session.commit()
    return 201, []


def main() -> None:
    engine = sa.create_engine(load().database.url)
    Base.metadata.create_all(engine)
    for email, name in (("ona@example.org", "Ona"), ("no address", "Jonas")):
        with Session(engine) as session:
            status, problems = sign_up(session, email, name)
            sys.stdout.write(f"{status} {'; '.join(problems)}".rstrip() + "\n")
    with Session(engine) as session:
        accounts = session.scalar(sa.select(sa.func.count()).select_from(Account))
        sys.stdout.write(f"accounts: {accounts}\n")
    engine.dispose()


if __name__ == "__main__":
    main()
