-- name: make_service#
-- Make (or bring up to date) the schema and the three roles of one service. The service's name and the two passwords
-- come as settings of this transaction, because role names cannot be parameters.
DO $$
DECLARE
    service text := current_setting('todoke.service');
    role_name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('todoke.roles'));
    FOREACH role_name IN ARRAY ARRAY[service || '_owner', service || '_worker', service || '_api'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
        END IF;
    END LOOP;
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', service || '_worker', current_setting('todoke.worker_password'));
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', service || '_api', current_setting('todoke.api_password'));
    -- An old snapshot keeps dead outbox rows alive and makes every relay round slower: no transaction may grow old.
    -- A process that stops in mid-transaction loses it: its locks must not hold up the one that takes over.
    FOREACH role_name IN ARRAY ARRAY[service || '_worker', service || '_api'] LOOP
        EXECUTE format('ALTER ROLE %I SET transaction_timeout = ''30s''', role_name);
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''5s''', role_name);
        EXECUTE format('ALTER ROLE %I SET lock_timeout = ''8s''', role_name);
    END LOOP;
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service || '_owner');
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', service, service || '_worker', service || '_api');
    -- A database of one's own: nobody else may even connect, and nobody may make tables in public.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I', current_database(), service || '_worker', service || '_api');
    EXECUTE format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO %I', current_database(), service || '_owner');
END
$$;

-- name: set_for_this_transaction$
-- Hand a value to the next statements of this transaction.
SELECT set_config(:name, :value, true);

-- name: lock_migrations$
-- Only one process migrates at a time; the lock ends with the connection.
SELECT pg_advisory_lock(hashtext('todoke.migrate'));

-- name: database_exists$
-- Whether a database of this name is there.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name);

-- name: create_statement$
-- The statement that makes a database; CREATE DATABASE takes no parameters.
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8''', :name::text);
