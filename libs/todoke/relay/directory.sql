-- name: keep!
-- Take newer rows of offices; an older version never replaces a newer one.
INSERT INTO directory (office, version, facts)
SELECT * FROM unnest(:offices::text[], :versions::integer[], :facts::json[])
ON CONFLICT (office) DO UPDATE SET version = excluded.version, facts = excluded.facts
WHERE directory.version < excluded.version;

-- name: rows
-- The rows of these offices, as far as they are known.
SELECT office, version, facts::text AS facts FROM directory WHERE office = ANY(:offices::text[]);
