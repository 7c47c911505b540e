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

fn initial(members: &[Member]) -> String {
    let mut sql =
        "-- Gateway and reencryptor share the keystore: what one makes belongs to both.\n\
                   CREATE ROLE keyhelm_keys NOLOGIN;\n"
            .to_owned();
    for member in members {
        let name = &member.name;
        let role = match member.role {
            Role::Coordinator => None,
            Role::Gateway | Role::Reencryptor => Some("keyhelm_keys"),
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
         REVOKE ALL ON DATABASE keyhelm_records, keyhelm_keys FROM PUBLIC;\n",
    );
    sql
}
