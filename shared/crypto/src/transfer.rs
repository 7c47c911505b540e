//! A master key on its way from one unit to another, sealed to a key that the recipient made for
//! this one rotation. Both sides are ephemeral, so nothing that is kept can open it later.

use protocol::{InstanceId, OrderNumber, Pattern, ProcessId, RotationId};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::domain;
use crate::hpke_suite::{self, HpkeRefused};
use crate::master_key::MasterKey;
use crate::secret::Secret;

/// The X25519 key that a unit makes for one rotation.
#[derive(Debug)]
pub struct TransportKey(Secret);

impl TransportKey {
    /// Makes one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Secret::generate(rng))
    }

    /// Its public half, for the offer.
    pub fn public(&self) -> [u8; 32] {
        hpke_suite::public_key(&self.0)
    }

    /// Its bytes, for the unit's sealed state only.
    pub fn danger_state_bytes(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Back from the unit's sealed state.
    pub fn danger_from_state_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::copied_from(bytes))
    }
}

/// What a transfer is for: one that was sealed for the one opens under no order of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferPurpose {
    /// The new master key, in a rotation.
    Rotate,
    /// The current master key, to a unit that has none.
    Recover,
}

impl TransferPurpose {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Rotate => domain::TRANSFER_INFO,
            Self::Recover => domain::RECOVER_INFO,
        }
    }

    /// Under what the recipient signs its offer.
    pub const fn offer_domain(self) -> &'static str {
        match self {
            Self::Rotate => domain::OFFER,
            Self::Recover => domain::RECOVER_OFFER,
        }
    }

    /// Under what the source signs the sealed key.
    pub const fn transfer_domain(self) -> &'static str {
        match self {
            Self::Rotate => domain::TRANSFER,
            Self::Recover => domain::RECOVER_TRANSFER,
        }
    }
}

/// Everything a transfer is bound to (HPKE `info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferInfo {
    /// What for.
    pub purpose: TransferPurpose,
    /// The instance.
    pub instance: InstanceId,
    /// Serial of the manifest under which the order was given.
    pub manifest_serial: u64,
    /// The rotation.
    pub rotation: RotationId,
    /// Number of its order.
    pub number: OrderNumber,
    /// Who seals.
    pub source: ProcessId,
    /// Who opens.
    pub recipient: ProcessId,
    /// Pattern of the current master key; none at initialisation.
    pub from: Option<Pattern>,
    /// Pattern of the sealed one.
    pub to: Pattern,
}

impl TransferInfo {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.purpose.info().to_vec();
        bytes.extend_from_slice(self.instance.bytes());
        bytes.extend_from_slice(&self.manifest_serial.to_le_bytes());
        bytes.extend_from_slice(self.rotation.bytes());
        bytes.extend_from_slice(&self.number.manifest_serial.to_le_bytes());
        bytes.extend_from_slice(&self.number.number.to_le_bytes());
        bytes.extend_from_slice(self.source.bytes());
        bytes.extend_from_slice(self.recipient.bytes());
        bytes.push(u8::from(self.from.is_some()));
        bytes.extend_from_slice(&self.from.map_or([0; 32], |pattern| pattern.0));
        bytes.extend_from_slice(&self.to.0);
        bytes
    }
}

/// A sealed master key as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// HPKE's encapsulated key.
    pub enc: [u8; 32],
    /// 32 bytes and a tag.
    pub ciphertext: Vec<u8>,
}

/// Seals a master key to a transport key.
pub fn seal_master_key<R: CryptoRng>(
    key: &MasterKey,
    recipient: &[u8; 32],
    info: &TransferInfo,
    rng: &mut R,
) -> Result<SealedKey, HpkeRefused> {
    let (enc, mut context) = hpke_suite::sender(recipient, &info.bytes(), rng)?;
    let ciphertext = context.seal(key.secret().expose(), &[]).map_err(|_| HpkeRefused)?;
    Ok(SealedKey { enc, ciphertext })
}

/// Opens a sealed master key; its pattern is computed anew and must be the one that `info` names.
pub fn open_master_key(
    transport: &TransportKey,
    sealed: &SealedKey,
    info: &TransferInfo,
) -> Result<MasterKey, HpkeRefused> {
    let mut context = hpke_suite::receiver(&transport.0, &sealed.enc, &info.bytes())?;
    let opened = Zeroizing::new(context.open(&sealed.ciphertext, &[]).map_err(|_| HpkeRefused)?);
    let bytes = opened.as_slice().try_into().map_err(|_| HpkeRefused)?;
    let key = MasterKey::from_secret(Secret::copied_from(bytes));
    (key.pattern() == info.to).then_some(key).ok_or(HpkeRefused)
}
