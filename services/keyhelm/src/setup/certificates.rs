//! The cluster's certificate authority, and the certificates of broker and database.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::files::{Place, Reader};
use super::issuer::{self, AUTHORITY_KEY};
use super::plan::Plan;

const ISSUER: Reader<'static> = Reader::Nobody(issuer::FOLDER);
/// For how long certificates are valid.
const YEARS: i64 = 10;

/// The authority.
pub(super) struct Authority {
    /// Its certificate in PEM.
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Made at the first run, and the same ever after.
pub(super) fn authority(plan: &Plan, place: &mut Place) -> anyhow::Result<Authority> {
    let make = || Ok(KeyPair::generate()?.serialize_pem().into());
    let key = place.keep(ISSUER, AUTHORITY_KEY, make)?;
    let key = KeyPair::from_pem(&key).context(AUTHORITY_KEY)?;
    let params = authority_params(plan)?;
    let pem = place.keep(ISSUER, "ca.pem", || Ok(params.self_signed(&key)?.pem().into()))?;
    Ok(Authority { pem: pem.to_string(), issuer: Issuer::new(params, key) })
}

fn authority_params(plan: &Plan) -> anyhow::Result<CertificateParams> {
    let mut params = valid(CertificateParams::new(Vec::new())?);
    let name = format!("keyhelm cluster {}", plan.instance_name);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn valid(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    // Clocks of containers and hosts differ a little.
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(YEARS * 365);
    params
}

/// A server's key and certificate, for its name and for the loopback.
pub(super) fn server(
    host: &str,
    reader: Reader<'_>,
    authority: &Authority,
    place: &mut Place,
) -> anyhow::Result<()> {
    place.keep(reader, "ca.pem", || Ok(authority.pem.clone().into()))?;
    let key: Zeroizing<String> =
        place.keep(reader, "server.key", || Ok(KeyPair::generate()?.serialize_pem().into()))?;
    place.keep(reader, "server.pem", || {
        let key = KeyPair::from_pem(&key)?;
        let names = [host, "localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = valid(CertificateParams::new(names)?);
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(params.signed_by(&key, &authority.issuer)?.pem().into())
    })?;
    Ok(())
}
