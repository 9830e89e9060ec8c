"""The tables of what watches over the hub, beside those of :mod:`hub.store.tables`.

    alert ── alert_notice          certificate

No citizen's data is in them: names of the configuration, tokens, and sentences made of both.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from hub.store.tables import Instant, Seq, metadata

alert = Table(
    "alert",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("name", Text, nullable=False),  # blocked | dead_letters | …
    Column("object", Text, nullable=False),  # what it is about: a destination, a sender, a node
    Column("level", Integer, nullable=False),  # grows while it gets worse
    Column("text", Text, nullable=False),
    Column("next", Text, nullable=False),
    Column("raised_at", Instant, nullable=False),
    Column("cleared_at", Instant),
    sqlite_autoincrement=True,
)
_alert_stands = alert.c.cleared_at.is_(None)
Index("alert_standing", alert.c.name, alert.c.object, unique=True,
      sqlite_where=_alert_stands, postgresql_where=_alert_stands)  # fmt: skip

alert_notice = Table(
    "alert_notice",  # what a channel is to be told, until it has been
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("alert_seq", BigInteger, ForeignKey("alert.seq"), nullable=False),
    Column("what", Text, nullable=False),  # raised | worse | cleared
    Column("channel", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("told_at", Instant),
    Column("failure", Text, nullable=False),  # a token; why the last try did not reach anybody
    sqlite_autoincrement=True,
)
_untold = alert_notice.c.told_at.is_(None)
Index("alert_notice_untold", alert_notice.c.channel, alert_notice.c.due_at,
      sqlite_where=_untold, postgresql_where=_untold)  # fmt: skip

certificate = Table(
    "certificate",  # the one that a peer has shown last
    metadata,
    Column("place", Text, primary_key=True),
    Column("not_after", Instant, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("seen_at", Instant, nullable=False),
)
