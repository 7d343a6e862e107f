-- The three roles of the worker's database (docs/how-to/deployment.md). Run once by a superuser in that database, with psql; the
-- `postgres` service of docker-compose.yml does so at its first start. `onboard db grant` gives them their rights.
\set ON_ERROR_STOP on
\set migrate `cat /run/secrets/migrate_password`
\set run `cat /run/secrets/run_password`
\set report `cat /run/secrets/report_password`
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
