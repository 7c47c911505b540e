//! What PostgreSQL is given: TLS and nothing else, a user for each process that has a database, and
//! the two databases. Passwords are written as what the server stores (RFC 5803), not themselves.

use std::fmt::Write;

use protocol::Role;

use super::certificates::{self, Authority};
use super::files::{Place, Reader, password};
use super::plan::Plan;
use super::processes::Member;

const SERVER: Reader<'static> = Reader::Server("postgres");

/// Passwords always; over a network TLS always.
const ACCESS: &str = "\
local   all all     scram-sha-256
hostssl all all all scram-sha-256
";

/// Writes what lacks. The server runs `init.sql` once, when it makes its data folder.
pub(super) fn prepare(
    plan: &Plan,
    members: &[Member],
    authority: &Authority,
    place: &mut Place,
) -> anyhow::Result<()> {
    certificates::server(&plan.database, SERVER, authority, place)?;
    place.keep(SERVER, "pg_hba.conf", || Ok(ACCESS.to_owned().into()))?;
    place.keep(SERVER, "superuser-password", || Ok(password()))?;
    place.keep(SERVER, "init.sql", || Ok(initial(members).into()))?;
    Ok(())
}

/// Run in the keystore's database. Its tables are the reencryptor's, which makes them; the gateway is
/// given what it needs as each of them is made, and no right to the keystore's row. To hold that row
/// `FOR SHARE` PostgreSQL wants the right to change some column: there is one that means nothing.
const KEYSTORE: &str = "\
\\connect keyhelm_keys
CREATE FUNCTION keyhelm_give_gateways() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made RECORD;
BEGIN
    FOR made IN SELECT c.oid::regclass AS name, c.relname FROM pg_event_trigger_ddl_commands() d
        JOIN pg_class c ON c.oid = d.objid WHERE d.object_type = 'table'
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO keyhelm_gateways', made.name);
        IF made.relname = 'keystores' THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN held BOOLEAN', made.name);
            EXECUTE format('GRANT UPDATE (held) ON %s TO keyhelm_gateways', made.name);
        ELSIF made.relname IN ('keys', 'key_versions', 'tombstones')
            OR made.relname LIKE 'wrapped\\_%' THEN
            EXECUTE format('GRANT INSERT, DELETE ON %s TO keyhelm_gateways', made.name);
        ELSIF made.relname = 'quarantined' THEN
            EXECUTE format('GRANT DELETE ON %s TO keyhelm_gateways', made.name);
        END IF;
        IF made.relname = 'keys' THEN
            EXECUTE format('GRANT UPDATE (state, deleted_at) ON %s TO keyhelm_gateways', made.name);
        END IF;
    END LOOP;
END $$;
CREATE EVENT TRIGGER keyhelm_give_gateways ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION keyhelm_give_gateways();
";

fn initial(members: &[Member]) -> String {
    let mut sql = "-- The keystore is the reencryptor's; the gateway writes keys into it.\n\
                   CREATE ROLE keyhelm_keys NOLOGIN;\n\
                   CREATE ROLE keyhelm_gateways NOLOGIN;\n"
        .to_owned();
    for member in members {
        let name = &member.name;
        let role = match member.role {
            Role::Coordinator => None,
            Role::Reencryptor => Some("keyhelm_keys"),
            Role::Gateway => Some("keyhelm_gateways"),
            _ => continue,
        };
        let verifier =
            postgres_protocol::password::scram_sha_256(member.database_password.as_bytes());
        // Writing to a string does not fail.
        let _ = writeln!(sql, "CREATE ROLE \"{name}\" LOGIN PASSWORD '{verifier}';");
        if let Some(role) = role {
            let _ = writeln!(sql, "GRANT {role} TO \"{name}\";");
            let _ = writeln!(sql, "ALTER ROLE \"{name}\" SET role = '{role}';");
        }
    }
    sql.push_str(
        "CREATE DATABASE keyhelm_records OWNER coordinator;\n\
         CREATE DATABASE keyhelm_keys OWNER keyhelm_keys;\n\
         REVOKE ALL ON DATABASE keyhelm_records, keyhelm_keys FROM PUBLIC;\n\
         GRANT CONNECT ON DATABASE keyhelm_keys TO keyhelm_gateways;\n",
    );
    sql.push_str(KEYSTORE);
    sql
}
