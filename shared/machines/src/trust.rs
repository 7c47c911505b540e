//! What a process believes about its instance: the chain of manifests that it has taken.

use crypto::{digest, domain, identity, quorum};
use protocol::manifest::{
    MAX_ADMINISTRATOR_NAME, MAX_ADMINISTRATORS, MAX_MEMBERS, Manifest, Member, SignedManifest,
};
use protocol::{Digest, InstanceId, ProcessId, PublicKey, Role};

/// Why a chain of manifests was not taken. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestRefusal {
    /// Bytes that are no manifest.
    #[error("manifest cannot be read: {0}")]
    Malformed(String),
    /// It breaks a rule that any manifest must keep.
    #[error("manifest {serial} is not sound: {reason}")]
    NotSound {
        /// Its serial.
        serial: u64,
        /// Which rule.
        reason: String,
    },
    /// It is for another instance.
    #[error("manifest is of instance {0}")]
    OtherInstance(InstanceId),
    /// It does not follow the newest one.
    #[error("manifest {serial} does not follow manifest {newest}")]
    NotNext {
        /// Its serial.
        serial: u64,
        /// Serial of the newest one taken.
        newest: u64,
    },
    /// Its signatures do not suffice.
    #[error("manifest {serial}: {reason}")]
    NotSigned {
        /// Its serial.
        serial: u64,
        /// What is lacking.
        reason: String,
    },
    /// A rotation is under way, and it is no amendment of it.
    #[error("manifest {serial} cannot be taken during the rotation: {reason}")]
    NoAmendment {
        /// Its serial.
        serial: u64,
        /// Why.
        reason: String,
    },
    /// An administrator that this process was told to insist on has not signed it.
    #[error("pinned administrator {0} has not signed the manifest, or is not in it")]
    PinnedAdministratorMissing(PublicKey),
    /// The process is not in it under its own identity and role.
    #[error("manifest {0} does not name this process with its identity and role")]
    NotNamed(u64),
    /// A fork: the same serial with other bytes.
    #[error("manifest {0} has been taken with other content")]
    Fork(u64),
}

/// The manifests that a process has taken, oldest first; empty in imprint mode.
#[derive(Clone, Debug)]
pub struct Trust {
    instance: InstanceId,
    chain: Vec<SignedManifest>,
    newest: Option<Manifest>,
    /// A later one that its signers have let follow, and that may not be taken as long as a rotation is under
    /// way. Not saved: whoever has it sends it again.
    waiting: Option<Manifest>,
}

impl Trust {
    /// Imprint mode.
    pub const fn imprint(instance: InstanceId) -> Self {
        Self { instance, chain: Vec::new(), newest: None, waiting: None }
    }

    /// Back from a process's own sealed state, where it was verified before it was saved.
    pub fn from_saved(
        instance: InstanceId,
        chain: Vec<SignedManifest>,
    ) -> Result<Self, ManifestRefusal> {
        let newest = match chain.last() {
            None => None,
            Some(signed) => Some(decode(signed)?),
        };
        Ok(Self { instance, chain, newest, waiting: None })
    }

    /// The instance.
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The newest manifest; none in imprint mode.
    pub const fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref()
    }

    /// Serial of the newest manifest; 0 in imprint mode.
    pub fn serial(&self) -> u64 {
        self.newest.as_ref().map_or(0, |manifest| manifest.serial)
    }

    /// Every manifest taken, oldest first.
    pub fn chain(&self) -> &[SignedManifest] {
        &self.chain
    }

    /// The manifest of this serial, if it has been taken.
    pub fn manifest_at(&self, serial: u64) -> Option<Manifest> {
        let index = usize::try_from(serial).ok()?.checked_sub(1)?;
        self.chain.get(index)?.unverified().ok()
    }

    /// A member of the newest manifest.
    pub fn member(&self, id: ProcessId) -> Option<&Member> {
        self.newest.as_ref().and_then(|manifest| manifest.member(id))
    }

    /// Whether the newest manifest names this process in this role.
    pub fn names(&self, id: ProcessId, role: Role) -> bool {
        self.newest.as_ref().is_some_and(|manifest| manifest.names(id, role))
    }

    /// Remembers manifests that are refused only because a rotation is under way.
    pub fn note_waiting(&mut self, chain: &[SignedManifest]) {
        let mut next = self.clone();
        let newest = self.waiting.as_ref().map_or(0, |it| it.serial);
        if next.take(chain, None, &[]) == Ok(true) && next.serial() >= newest {
            self.waiting = next.newest;
        }
    }

    /// Whether this is a coordinator of a manifest that waits for the end of a rotation. It may end the rotation:
    /// those who could by the newest manifest may be gone for good.
    pub fn may_end(&self, who: ProcessId) -> bool {
        let waiting = self.waiting.as_ref().filter(|it| it.serial > self.serial());
        waiting.is_some_and(|it| it.names(who, Role::Coordinator))
    }

    /// Takes what is new of a chain: each one signed by a quorum of the one before it, the first by
    /// its own administrators. `Ok(false)` if nothing is new.
    ///
    /// `who` insists that the last one names this process; `pinned` are administrators who must all have
    /// signed a first manifest.
    pub fn take(
        &mut self,
        chain: &[SignedManifest],
        who: Option<(ProcessId, Role)>,
        pinned: &[PublicKey],
    ) -> Result<bool, ManifestRefusal> {
        let mut next = self.clone();
        for signed in chain {
            next.take_one(signed, pinned)?;
        }
        if next.chain.len() == self.chain.len() {
            return Ok(false);
        }
        let is_first = self.chain.is_empty();
        if let (true, Some((id, role))) = (is_first, who)
            && !next.names(id, role)
        {
            return Err(ManifestRefusal::NotNamed(next.serial()));
        }
        *self = next;
        Ok(true)
    }

    fn take_one(
        &mut self,
        signed: &SignedManifest,
        pinned: &[PublicKey],
    ) -> Result<(), ManifestRefusal> {
        let manifest = decode(signed)?;
        if manifest.instance != self.instance {
            return Err(ManifestRefusal::OtherInstance(manifest.instance));
        }
        let (serial, newest) = (manifest.serial, self.serial());
        if serial >= 1 && serial <= newest {
            return self.seen_before(signed, serial);
        }
        let expected = self.chain.last().map(|signed| manifest_digest(&signed.bytes));
        if serial != newest + 1 || manifest.previous != expected {
            return Err(ManifestRefusal::NotNext { serial, newest });
        }
        sound(&manifest)?;
        // To be listed is not enough: anybody could list them beside itself.
        let has_signed = |pin: &PublicKey| {
            let is_listed = manifest.administrators.iter().any(|admin| admin.key == *pin);
            is_listed && signed.signatures.iter().any(|given| given.ski == quorum::ski(pin))
        };
        if let Some(missing) = pinned.iter().filter(|_| newest == 0).find(|pin| !has_signed(pin)) {
            return Err(ManifestRefusal::PinnedAdministratorMissing(*missing));
        }
        let ruler = self.newest.as_ref().unwrap_or(&manifest);
        let threshold = threshold_needed(self.newest.as_ref(), &manifest);
        verify_signatures(ruler, domain::MANIFEST, &signed.bytes, &signed.signatures, threshold)
            .map_err(|reason| ManifestRefusal::NotSigned { serial, reason })?;
        self.chain.push(signed.clone());
        self.newest = Some(manifest);
        Ok(())
    }

    fn seen_before(&self, signed: &SignedManifest, serial: u64) -> Result<(), ManifestRefusal> {
        let known = self.chain.get(serial as usize - 1);
        match known {
            Some(known) if known.bytes == signed.bytes => Ok(()),
            _ => Err(ManifestRefusal::Fork(serial)),
        }
    }
}

/// SHA-256 of a manifest's bytes, as the next one names it.
pub fn manifest_digest(bytes: &[u8]) -> Digest {
    digest::sha256(domain::MANIFEST, &[bytes])
}

/// Checks that enough distinct administrators of `ruler` have signed.
pub fn verify_signatures(
    ruler: &Manifest,
    signing_domain: &'static str,
    message: &[u8],
    signatures: &[protocol::manifest::AdminSignature],
    threshold: u32,
) -> Result<(), String> {
    let given: Vec<_> = signatures.iter().map(|given| (given.ski, given.signature)).collect();
    let keys: Vec<_> = ruler.administrators.iter().map(|admin| admin.key).collect();
    quorum::verify_quorum(signing_domain, message, &given, &keys, threshold)
        .map_err(|error| error.to_string())
}

/// Removing an administrator or a member needs the revocation threshold, everything else the
/// signature threshold; both need both.
fn threshold_needed(before: Option<&Manifest>, after: &Manifest) -> u32 {
    let Some(before) = before else { return after.signature_threshold };
    let admin_gone = before
        .administrators
        .iter()
        .any(|old| after.administrators.iter().all(|new| new.key != old.key));
    // Whoever is given another role is gone from the one it had.
    let stays = |old: &Member| after.member(old.id).is_some_and(|new| new.role == old.role);
    let member_gone = !before.members.iter().all(stays);
    match admin_gone || member_gone {
        true => before.signature_threshold.max(before.revocation_threshold),
        false => before.signature_threshold,
    }
}

fn decode(signed: &SignedManifest) -> Result<Manifest, ManifestRefusal> {
    signed.unverified().map_err(|error| ManifestRefusal::Malformed(error.to_string()))
}

/// The rules that any manifest must keep, whoever signed it.
pub fn sound(manifest: &Manifest) -> Result<(), ManifestRefusal> {
    let refuse =
        |reason: String| Err(ManifestRefusal::NotSound { serial: manifest.serial, reason });
    let admins = &manifest.administrators;
    if admins.is_empty() || admins.len() > MAX_ADMINISTRATORS {
        return refuse(format!("it must have 1 to {MAX_ADMINISTRATORS} administrators"));
    }
    if manifest.members.len() > MAX_MEMBERS {
        return refuse(format!("it has more than {MAX_MEMBERS} members"));
    }
    for (what, threshold) in
        [("signature", manifest.signature_threshold), ("revocation", manifest.revocation_threshold)]
    {
        if threshold == 0 || threshold as usize > admins.len() {
            let count = admins.len();
            return refuse(format!("{what} threshold {threshold} with {count} administrators"));
        }
    }
    for (index, admin) in admins.iter().enumerate() {
        if admin.name.is_empty() || admin.name.chars().count() > MAX_ADMINISTRATOR_NAME {
            return refuse(format!(
                "an administrator's name must have 1 to {MAX_ADMINISTRATOR_NAME} characters"
            ));
        }
        if admins[..index].iter().any(|other| other.key == admin.key) {
            return refuse(format!("administrator {} is in it twice", admin.name));
        }
    }
    for (index, member) in manifest.members.iter().enumerate() {
        if identity::process_id(&member.identity) != member.id {
            return refuse(format!("the id of member {} is not that of its key", member.name));
        }
        if manifest.members[..index].iter().any(|other| other.id == member.id) {
            return refuse(format!("member {} is in it twice", member.name));
        }
        if let Some(text) = [&member.name, &member.location].into_iter().find(|it| !is_plain(it)) {
            return refuse(format!(
                "{text:?} has control characters, or more than {MAX_MEMBER_TEXT} characters"
            ));
        }
    }
    if manifest.crypto_units().next().is_none() {
        return refuse("it has no crypto unit".to_owned());
    }
    if manifest.of_role(Role::RecoveryUnit).next().is_none() {
        return refuse("it has no recovery unit: nothing could make a master key".to_owned());
    }
    if manifest.keystores.is_empty() {
        return refuse("it has no keystore: nothing would be re-encrypted".to_owned());
    }
    Ok(())
}

/// Most characters of a member's name or location.
pub const MAX_MEMBER_TEXT: usize = 100;

/// Whether a name or location may stand on a screen beside others: nothing in it moves the cursor or hides
/// what people compare before they sign.
pub fn is_plain(text: &str) -> bool {
    text.chars().count() <= MAX_MEMBER_TEXT && !text.chars().any(char::is_control)
}

/// What a new manifest must keep besides; one that is long taken need not.
pub fn served(manifest: &Manifest) -> Result<(), ManifestRefusal> {
    if manifest.of_role(Role::Reencryptor).next().is_some() {
        return Ok(());
    }
    let reason = "it has no reencryptor: nothing could re-encrypt its keystores".to_owned();
    Err(ManifestRefusal::NotSound { serial: manifest.serial, reason })
}
