"""Ona's own link, and a visitor who says that it is for another person."""

from datetime import timedelta

import sqlalchemy as sa

from onboarding_worker.core.database.tables import Job, StableLink
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import OPEN_JOBS
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.core.rows.row_by_row import hold_back

LINKS = StableLinks("https://verify.test", timedelta(days=30))


def secret_of_link(shelf, keyring, links=LINKS):
    """The secret part of Ona's link."""
    with shelf.database.write() as connection:
        made = links.ensure(connection, keyring, [("Ona", "onboarding")], now=shelf.clock())
    return made["Ona", "onboarding"].address.rpartition("/")[2]


def say_not_me(shelf, keyring, links=LINKS):
    """What follows for Ona's row and link."""
    secret_of_link(shelf, keyring, links)
    leads = [job for job in shelf.rows(Job) if job.state in OPEN_JOBS and job.leader_id is None]
    with shelf.database.write() as connection:
        hold_back(connection, leads, Reason.NOT_ME, now=shelf.clock())
        connection.execute(sa.delete(StableLink))
