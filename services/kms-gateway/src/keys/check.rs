//! Opening every key of an instance, to see that none is lost.

use keystore::{ScanRow, Scanned};
use protocol::page::{ChunkRange, WrappedRow};
use protocol::session::{KeyAnswer, KeyRequest};
use protocol::{KeyId, VersionId};

use super::{GatewayError, Keys};

/// Versions in one page of a check.
const CHECK_PAGE: u32 = 500;

/// A version that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// The key.
    pub key: KeyId,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: VersionId,
    /// Why.
    pub reason: String,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Versions that ought to be there, and are not in quarantine.
    pub checked: u64,
    /// Versions that opened.
    pub opened: u64,
    /// Versions that no unit opened when the master key was rotated, each with its reason then.
    pub quarantined: Vec<CheckFailure>,
    /// The others.
    pub failures: Vec<CheckFailure>,
}

impl Keys {
    /// Opens every key version in the units. What is missing or does not open is named.
    pub async fn check(&self) -> Result<Checked, GatewayError> {
        let mut checked = Checked::default();
        let mut after = ChunkRange::WHOLE.after;
        while let Some((mut page, mut last)) = self.check_page(after).await? {
            if !page.failures.is_empty() {
                // A rotation may have flipped since the page was read: it is read again, once.
                let Some(again) = self.check_page(after).await? else { continue };
                (page, last) = again;
            }
            checked.checked += page.checked;
            checked.opened += page.opened;
            checked.quarantined.append(&mut page.quarantined);
            checked.failures.append(&mut page.failures);
            after = last;
        }
        Ok(checked)
    }

    /// Checks the versions after `after`, and says which was the last; none if there are no more.
    async fn check_page(
        &self,
        after: VersionId,
    ) -> Result<Option<(Checked, VersionId)>, GatewayError> {
        let found = self.store.scan(self.instance, Scanned::All, after, CHECK_PAGE).await?;
        let Some(last) = found.last() else { return Ok(None) };
        let mut checked = Checked::default();
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            match (&row.blob, &row.quarantined) {
                (Some(blob), _) => rows.push(WrappedRow {
                    version: row.version,
                    key: row.key,
                    attributes: row.attributes,
                    blob: blob.clone(),
                }),
                (None, Some(reason)) => checked.quarantined.push(failure(row, reason)),
                (None, None) => checked.failures.push(failure(row, "its wrapped key is missing")),
            }
        }
        checked.checked = (found.len() - checked.quarantined.len()) as u64;
        let KeyAnswer::Checked { opened_count, unopened } =
            self.asked(&KeyRequest::Check { rows }).await?
        else {
            return Err(GatewayError::Unexpected);
        };
        checked.opened = opened_count;
        for unopened in unopened {
            match found.iter().find(|row| row.version == unopened.version) {
                Some(row) => checked.failures.push(failure(row, &unopened.reason)),
                None => return Err(GatewayError::Unexpected),
            }
        }
        let last = last.version;
        Ok(Some((checked, last)))
    }
}

fn failure(row: &ScanRow, reason: &str) -> CheckFailure {
    CheckFailure {
        key: row.key,
        name: row.name.clone(),
        version: row.version,
        reason: reason.to_owned(),
    }
}
