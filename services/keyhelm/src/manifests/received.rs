//! What a coordinator says of the manifests of an instance, judged before anybody relies on it: whoever
//! is on the way of the answer could have written it.

use machines::trust::{Trust, manifest_digest};
use protocol::InstanceId;
use protocol::api::ManifestView;

/// Sees that the manifest shown is the newest one of a chain that administrators have signed, from the
/// first one on, and that it is of this instance.
pub fn judge(instance: InstanceId, view: &ManifestView) -> Result<(), String> {
    let mut trust = Trust::imprint(instance);
    trust.take(&view.chain, None, &[]).map_err(|refusal| refusal.to_string())?;
    let Some((newest, signed)) = trust.newest().zip(trust.chain().last()) else {
        return Err("no signed manifest is beside it".to_owned());
    };
    let checks = [
        (trust.chain() == view.chain, "a manifest is in its chain twice"),
        (*newest == view.manifest, "it is not the newest one that was signed"),
        (manifest_digest(&signed.bytes) == view.digest, "its digest is another one"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, why)) => Err((*why).to_owned()),
    }
}
