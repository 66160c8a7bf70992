"""Row-level security on PostgreSQL: what keeps a transaction to one tenant when a query forgets to.

Every table with ``tenant_id`` has one policy: its rows are those whose tenant the transaction has named
(`fleet_server.db`). Who owns the tables - the services: ingest, scheduler, migrations, the command line - sees all; who
reads for a caller takes the role `TENANT_ROLE` for the length of a transaction, which owns nothing, cannot sign in,
sees by that policy, and can add to the audit but not change it. Other roles that somebody gives rights to see nothing
before they name a tenant. FORCE keeps an owner to the policy too; it is set where the role of the services passes by
policies anyway (BYPASSRLS, superuser), because COPY is refused to whoever a policy holds. A second policy narrows those
who work by assignments (`fleet_server.assignments`) to what is assigned to them: it holds as soon as a transaction
names an assignee, and costs the others a comparison. A freeze of all tenants (`fleet_server.freezes`) is read by each.

Invariant: after `secure` every table with ``tenant_id`` has its policy, and every one with ``device_id`` the second,
whichever version added it. On SQLite there is
nothing of the kind: there the queries alone keep to the tenant.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from fleet_server.db import ASSIGNEE_SETTING, TENANT_ROLE, TENANT_SETTING
from fleet_server.errors import FleetError

_NO_RIGHT = "42501"  # insufficient_privilege
# Asked once a statement: as a sub-query it is no function called for each row.
_MINE = f"(SELECT current_setting('{TENANT_SETTING}', true))"
_SEES_ALL = f"(SELECT coalesce(current_setting('{ASSIGNEE_SETTING}', true), '') = '')"
_ASSIGNED = (
    f"a.assignee_id = current_setting('{ASSIGNEE_SETTING}', true) AND a.begins_at <= now() AND a.ends_at > now()"
)
# Functions, which the planner does not look into: as a sub-query in a policy it would be reckoned into every plan.
# They run as the owner, for the tables that they ask have policies of their own.
_ASKING = "LANGUAGE plpgsql STABLE COST 1 SECURITY DEFINER SET search_path = %I, pg_temp"
_DEVICE_ASSIGNED = f"""
  CREATE OR REPLACE FUNCTION device_assigned(of_device text) RETURNS boolean {_ASKING} AS $body$
  DECLARE
    place record;
  BEGIN
    SELECT d.tenant_id, d.link_id, d.site_id INTO place FROM device d WHERE d.id = of_device;
    RETURN EXISTS (
      SELECT FROM assignment a WHERE {_ASSIGNED} AND a.tenant_id = place.tenant_id AND (
        a.device_id IN (of_device, place.link_id) OR a.site_id = place.site_id
        OR EXISTS (SELECT FROM device b WHERE b.id = a.device_id AND b.link_id = of_device)));
  END $body$"""  # noqa: S608 - as below
_SITE_ASSIGNED = f"""
  CREATE OR REPLACE FUNCTION site_assigned(of_site text) RETURNS boolean {_ASKING} AS $body$
  BEGIN
    RETURN EXISTS (SELECT FROM assignment a WHERE {_ASSIGNED} AND a.site_id = of_site)
      OR EXISTS (SELECT FROM device d WHERE d.site_id = of_site AND device_assigned(d.id));
  END $body$"""  # noqa: S608 - as below

SECURE = f"""
DO $secure$
DECLARE
  found record;
  rights text;
  passes_by boolean := (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user);
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{TENANT_ROLE}') THEN
    BEGIN
      CREATE ROLE {TENANT_ROLE} NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      -- Another installation on this server has just made it.
      NULL;
    END;
  END IF;
  IF NOT pg_has_role(current_user, '{TENANT_ROLE}', 'MEMBER') THEN
    GRANT {TENANT_ROLE} TO CURRENT_USER;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO {TENANT_ROLE}', current_schema());
  FOR found IN
    SELECT c.oid::regclass AS name, c.relname, c.relrowsecurity, c.relforcerowsecurity, a.attname AS tenant
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
      AND a.attname = CASE c.relname WHEN 'tenant' THEN 'id' ELSE 'tenant_id' END
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  LOOP
    IF NOT found.relrowsecurity THEN
      EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', found.name);
    END IF;
    IF found.relforcerowsecurity <> passes_by THEN
      EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', found.name,
        CASE WHEN passes_by THEN 'FORCE' ELSE 'NO FORCE' END);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = found.name AND polname = 'of_tenant') THEN
      EXECUTE format($$CREATE POLICY of_tenant ON %s USING (%I = {_MINE}) WITH CHECK (%I = {_MINE})$$,
        found.name, found.tenant, found.tenant);
    END IF;
    -- What the operator of the installation declared for all tenants is read by each, and changed by his own only.
    IF found.relname = 'change_freeze' AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = found.name AND polname = 'of_all_tenants') THEN
      EXECUTE format('CREATE POLICY of_all_tenants ON %s FOR SELECT USING (of_all)', found.name);
    END IF;
    -- Of the audit nothing is changed; what lies beside it can be erased; its head is held, and moved by a trigger.
    rights := CASE WHEN found.relname IN ('audit_entry', 'audit_anchor') THEN 'SELECT, INSERT'
      WHEN found.relname = 'audit_head' THEN 'SELECT, INSERT, UPDATE (held)'
      WHEN found.relname = 'audit_aside' THEN 'SELECT, INSERT, DELETE' WHEN found.relname = 'tenant' THEN 'SELECT'
      ELSE 'SELECT, INSERT, UPDATE, DELETE' END;
    IF NOT has_table_privilege('{TENANT_ROLE}', found.name, 'SELECT') THEN
      EXECUTE format('GRANT %s ON %s TO {TENANT_ROLE}', rights, found.name);
    END IF;
  END LOOP;
  FOR found IN
    SELECT c.oid::regclass AS name FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace
      AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege('{TENANT_ROLE}', c.oid, 'USAGE') END
  LOOP
    EXECUTE format('GRANT USAGE ON SEQUENCE %s TO {TENANT_ROLE}', found.name);
  END LOOP;
  -- Where streams begin and what the clock is held against is one number and one moment of the whole installation.
  IF to_regclass('event') IS NOT NULL THEN
    EXECUTE format($$CREATE OR REPLACE FUNCTION newest_event() RETURNS TABLE (id bigint, received_at timestamptz)
      LANGUAGE sql STABLE SECURITY DEFINER SET search_path = %I, pg_temp
      AS 'SELECT e.id, e.received_at FROM event e ORDER BY e.id DESC LIMIT 1'$$, current_schema());
    REVOKE EXECUTE ON FUNCTION newest_event() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION newest_event() TO {TENANT_ROLE};
  END IF;
  IF to_regclass('assignment') IS NOT NULL THEN
    EXECUTE format($$ {_DEVICE_ASSIGNED} $$, current_schema());
    EXECUTE format($$ {_SITE_ASSIGNED} $$, current_schema());
    REVOKE EXECUTE ON FUNCTION device_assigned(text), site_assigned(text) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION device_assigned(text), site_assigned(text) TO {TENANT_ROLE};
    FOR found IN
      SELECT c.oid::regclass AS name, CASE c.relname WHEN 'device' THEN 'device_assigned(id)'
          WHEN 'site' THEN 'site_assigned(id)'
          WHEN 'assignment' THEN $$assignee_id = current_setting('{ASSIGNEE_SETTING}', true)$$
          ELSE 'device_assigned(device_id)' END AS seen
      FROM pg_class c
      WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND (c.relname IN ('device', 'site') OR EXISTS (SELECT FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attname = 'device_id' AND NOT a.attisdropped))
        AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'of_assignee')
    LOOP
      EXECUTE format($$CREATE POLICY of_assignee ON %s AS RESTRICTIVE USING ({_SEES_ALL} OR %s)$$,
        found.name, found.seen);
    END LOOP;
  END IF;
END $secure$
"""  # noqa: S608 - names of our own, nothing that was given


class TenantRoleNotMade(FleetError):
    code = "tenant_role_not_made"


def secure(connection: Connection) -> None:
    """As often as wanted; what is there already is left alone. Called under the lock of migrations."""
    if connection.dialect.name != "postgresql":
        return
    try:
        connection.exec_driver_sql(SECURE.replace("%", "%%"))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") != _NO_RIGHT:
            raise
        user = connection.engine.url.username
        raise TenantRoleNotMade(
            f"the role {user} may not make or give itself the role {TENANT_ROLE}: as a superuser of PostgreSQL run "
            f"CREATE ROLE {TENANT_ROLE} NOLOGIN; (unless it is there) and GRANT {TENANT_ROLE} TO {user};"
        ) from error
