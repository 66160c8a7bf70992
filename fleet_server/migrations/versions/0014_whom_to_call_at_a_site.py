"""whom to call at a site

A desk needs a name and an address beside the telephone number. What is about people leaves the texts that devices are
found by: a part of them finds, so a masked number could be guessed there digit by digit.

Revision 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Lines of the text are whole numbers and names. Both databases know what is used here.
_WITHOUT = """
UPDATE device SET search_text = trim(replace({line} || search_text || {line}, {line} || {number} || {line}, {line}),
  {line})
WHERE {line} || search_text || {line} LIKE '%' || {line} || {number} || {line} || '%' AND {number} <> ''
"""
_OF_SITE = "(SELECT lower(site.phone) FROM site WHERE site.id = device.site_id)"
_OF_SIM = "lower(coalesce(device.sim_phone, ''))"


def upgrade() -> None:
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(sa.Column("contact_name", sa.String(length=80), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("address", sa.String(length=240), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("contact_at", sa.DateTime(timezone=True), nullable=True))
    line = "chr(10)" if op.get_bind().dialect.name == "postgresql" else "char(10)"
    for number in (_OF_SITE, _OF_SIM):
        op.execute(_WITHOUT.format(line=line, number=number))
