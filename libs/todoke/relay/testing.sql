-- name: lock_template$
-- One process makes the template, the others wait; the lock ends with the connection.
SELECT pg_advisory_lock(hashtext('todoke.template'));

-- name: database_exists$
-- Whether a database of this name is there.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name);

-- name: create_statement$
-- The statement that makes an empty database.
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8''', :name::text);

-- name: clone_statement$
-- The statement that copies a database.
SELECT format('CREATE DATABASE %I TEMPLATE %I STRATEGY FILE_COPY', :name::text, :template::text);

-- name: grant_statement$
-- The statement that lets a service make schemas in a copied database: a copy has none of the grants on its model.
SELECT format('GRANT CREATE ON DATABASE %I TO %I', :name::text, :service || '_owner');

-- name: drop_statement$
-- The statement that removes a database with whoever still uses it.
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :name::text);

-- name: rename_statement$
-- The statement that gives a finished template its name.
SELECT format('ALTER DATABASE %I RENAME TO %I', :name::text, :new::text);

-- name: everything_said
-- The whole journal of a service, in the order it was said.
SELECT type, payload::text AS payload, seq FROM journal
UNION ALL
SELECT type, payload::text, seq FROM journal_office
ORDER BY seq;
