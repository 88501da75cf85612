"""Whose rows the portal's API role sees: of tables with an office only that office's, of sessions none."""

from todoke.relay.service import Shared


async def test_every_table_with_an_office_column_is_under_forced_security(shared: Shared) -> None:
    runtime = await shared.runtime("portal")
    async with runtime.db.worker() as tx:
        bare = await tx.db.fetch(
            """
            SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'portal'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND a.attname = 'office' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            """
        )
        of_sessions = await tx.db.fetchval("SELECT has_table_privilege('portal_api', 'web_session', 'SELECT')")
    await runtime.db.close()
    assert bare == []
    assert of_sessions is False
