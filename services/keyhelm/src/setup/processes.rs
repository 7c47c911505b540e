//! What each of keyhelm's own processes is given: storage key, identity, the ways to broker and
//! database, and what tokens are verified with.

use std::path::Path;

use crypto::identity::process_id;
use crypto::random::{process_rng, uuid_v4};
use crypto::sealed_state::StorageKey;
use identity::{AUDIENCE, Claims, Issuer, Role as Permission};
use ledger::Folder;
use protocol::{ProcessId, Role};
use zeroize::Zeroizing;

use super::certificates::Authority;
use super::files::{Place, Reader, password};
use super::issuer::{FOLDER, TOKEN_KEY};
use super::plan::{Plan, Planned};

/// For how long the token of the command line is valid.
const TOKEN_DAYS: u64 = 365;

/// A process that is prepared.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) id: ProcessId,
    pub(super) broker_password: Zeroizing<String>,
    pub(super) database_password: Zeroizing<String>,
}

/// Writes what lacks of a process's files.
pub(super) fn prepare(
    plan: &Plan,
    process: &Planned,
    authority: &Authority,
    place: &mut Place,
) -> anyhow::Result<Member> {
    let Planned { name, role } = process;
    let reader = Reader::Own(name);
    let data = place.data(reader)?;
    place.keep(reader, "ca.pem", || Ok(authority.pem.clone().into()))?;
    place.keep(reader, "storage-key", || {
        Ok(StorageKey::generate(&mut process_rng()).danger_hex())
    })?;
    // The broker's rights name queues, and queues have the ids of their readers: so the identity is
    // made here, sealed under the storage key, as the process itself would at its first start.
    let id = place.keep(reader, "process-id", || {
        let storage_key = plan.root.join("secrets").join(name).join("storage-key");
        let mut rng = process_rng();
        let folder = Folder::open(&data, Some(&storage_key), &mut rng)?;
        let identity = folder.identity(&mut rng)?;
        Ok(process_id(&identity.public_key()).to_string().into())
    });
    let id: ProcessId = id?.trim().parse().map_err(|_| anyhow::anyhow!("{name}: process-id"))?;
    place.give_all(&data, reader)?;
    let broker_password = password_in(place, reader, "amqp-url", |password| {
        format!("amqps://{name}:{password}@{}:5671/keyhelm", plan.broker)
    })?;
    let database_password = match role {
        Role::Coordinator | Role::Gateway | Role::Reencryptor => {
            let database =
                if *role == Role::Coordinator { "keyhelm_records" } else { "keyhelm_keys" };
            password_in(place, reader, "database-url", |password| {
                format!("postgres://{name}:{password}@{}:5432/{database}", plan.database)
            })?
        }
        _ => Zeroizing::default(),
    };
    Ok(Member { name: name.clone(), role: *role, id, broker_password, database_password })
}

/// The password in the URL that a file holds, or a new one.
fn password_in(
    place: &mut Place,
    reader: Reader<'_>,
    file: &str,
    url: impl Fn(&str) -> String,
) -> anyhow::Result<Zeroizing<String>> {
    let text = place.keep(reader, file, || Ok(url(&password()).into()))?;
    let found = text.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let password = found.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    let password = password.ok_or_else(|| anyhow::anyhow!("{file} holds no password"))?;
    Ok(password.to_owned().into())
}

/// The token issuer's key, the key set that verifies its tokens, and the command line's token and
/// passphrase.
pub(super) fn tokens(plan: &Plan, authority: &Authority, place: &mut Place) -> anyhow::Result<()> {
    let file = place.secrets(Reader::Nobody(FOLDER))?.join(TOKEN_KEY);
    let issuer = issuer(&file)?;
    for name in ["coordinator", "gateway"] {
        place.keep(Reader::Own(name), "jwks.json", || Ok(issuer.jwks().into()))?;
    }
    let cli = Reader::Own("cli");
    place.data(cli)?;
    place.keep(cli, "ca.pem", || Ok(authority.pem.clone().into()))?;
    place.keep(cli, "passphrase", || Ok(password()))?;
    place.keep(cli, "token", || {
        let now_s = service::now().0 / 1000;
        let claims = Claims {
            iss: "keyhelm".to_owned(),
            sub: "cli".to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now_s,
            exp: now_s + TOKEN_DAYS * 24 * 3600,
            jti: uuid_v4(&mut process_rng()).to_string(),
            roles: vec![Permission::Manager, Permission::KeyPurge],
            instances: vec![plan.instance_name.clone()],
        };
        Ok(issuer.issue(&claims)?.into())
    })?;
    Ok(())
}

fn issuer(file: &Path) -> anyhow::Result<Issuer> {
    match file.try_exists()? {
        true => Ok(Issuer::from_file(file)?),
        false => Ok(Issuer::create(file, &mut process_rng())?),
    }
}
