-- The three roles of the worker's database (docs/how-to/deployment.md). Run once by a superuser in that database, with psql; the
-- `postgres` service of docker-compose.yml does so at its first start. `onboard db grant` gives them their rights.
\set ON_ERROR_STOP on
-- The passwords are read from files: /run/secrets/{migrate,run,report}_password, or psql -v secrets=DIRECTORY.
\if :{?secrets}
\else
\set secrets /run/secrets
\endif
\set migrate `cat :'secrets'/migrate_password`
\set run `cat :'secrets'/run_password`
\set report `cat :'secrets'/report_password`
-- An empty one would make a role that cannot log in. The cast ends the script before anything is made.
SELECT '' IN (:'migrate', :'run', :'report') AS missing \gset
\if :missing
SELECT 'a file with a password is missing or empty'::boolean;
\endif
SELECT current_database() AS its_name \gset

-- Owns the tables and changes the schema: `onboard db upgrade` and `onboard db grant`.
CREATE ROLE onboarding_migrate LOGIN PASSWORD :'migrate';
-- worker, bus, web, and the commands that decide.
CREATE ROLE onboarding_run LOGIN PASSWORD :'run';
-- `onboard status` and `report`, and your own queries.
CREATE ROLE onboarding_report LOGIN PASSWORD :'report';

ALTER DATABASE :"its_name" OWNER TO onboarding_migrate;
REVOKE ALL ON DATABASE :"its_name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"its_name" TO onboarding_run, onboarding_report;
ALTER SCHEMA public OWNER TO onboarding_migrate;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
