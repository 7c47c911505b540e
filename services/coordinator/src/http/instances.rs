//! What there is: instances, their units, members, manifests and audit logs.

use axum::Json;
use axum::extract::State;
use ledger::AuditQuery;
use machines::conductor::Conductor;
use protocol::api::{
    AnnouncedMember, AuditView, Explanation, InstanceView, KeyCheckView, ManifestView, UnitsView,
};
use serde::Deserialize;

use super::HttpState;
use super::caller::{Caller, OPERATE, SEE};
use super::path::{Instance, Parameters};
use super::problem::Fault;
use crate::handle::Looked;
use crate::views;

/// Most entries of the audit log in one answer; the last one's `seq` asks for those after it.
const MAX_ENTRIES: usize = 1000;

pub(crate) async fn list(
    State(state): State<HttpState>,
    caller: Caller,
) -> Result<Json<Vec<InstanceView>>, Fault> {
    caller.must(&SEE)?;
    let look = move |all: &[crate::Known<'_>]| {
        let covered = all.iter().filter(|known| caller.covers(known.id));
        covered.map(views::instance).collect::<Vec<_>>()
    };
    Ok(Json(state.handle.see_all(look).await?))
}

pub(crate) async fn units(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<UnitsView>, Fault> {
    let mut view = surveyed(&state, &caller, &instance).await?;
    view.unmet.clear();
    view.warnings.clear();
    Ok(Json(view))
}

pub(crate) async fn compare(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<UnitsView>, Fault> {
    surveyed(&state, &caller, &instance).await.map(Json)
}

async fn surveyed(
    state: &HttpState,
    caller: &Caller,
    instance: &Instance,
) -> Result<UnitsView, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    let unknown = || Fault::unknown_instance(&instance.shown);
    let looked: Looked = state.handle.survey(instance.id).await?.ok_or_else(unknown)?;
    let id = instance.id;
    let view = state.handle.see_all(move |all| views::units(all, id, looked)).await?;
    view.ok_or_else(unknown)
}

pub(crate) async fn explain(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<Explanation>, Fault> {
    caller.must_in(&SEE, instance.id, &instance.shown)?;
    let unknown = || Fault::unknown_instance(&instance.shown);
    let looked = state.handle.survey(instance.id).await?.ok_or_else(unknown)?;
    let last = state.records.list(instance.id, 1).await?.into_iter().next();
    let look = move |found: Option<&Conductor>| {
        found.map(|conductor| views::explanation(conductor, &looked, last.as_ref(), service::now()))
    };
    state.handle.see(instance.id, look).await?.map(Json).ok_or_else(unknown)
}

/// The check of all keys that runs, else the last one since the coordinator's start.
pub(crate) async fn key_check(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<KeyCheckView>, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    let look = |found: Option<&Conductor>| found.map(Conductor::key_check);
    let found = state.handle.see(instance.id, look).await?;
    let known = found.ok_or_else(|| Fault::unknown_instance(&instance.shown))?;
    known.map(Json).ok_or_else(|| Fault::no_key_check(&instance.shown))
}

pub(crate) async fn members(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<Vec<AnnouncedMember>>, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    let own = state.handle.member().clone();
    let look = move |found: Option<&Conductor>| {
        found.map(|conductor| views::members(conductor, &own, service::now()))
    };
    let members = state.handle.see(instance.id, look).await?;
    members.map(Json).ok_or_else(|| Fault::unknown_instance(&instance.shown))
}

pub(crate) async fn manifest(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
) -> Result<Json<ManifestView>, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    manifest_of(&state, &instance).await.map(Json)
}

/// The newest manifest of an instance.
pub(crate) async fn manifest_of(
    state: &HttpState,
    instance: &Instance,
) -> Result<ManifestView, Fault> {
    let found = state.handle.see(instance.id, |found| found.map(views::manifest)).await?;
    let known = found.ok_or_else(|| Fault::unknown_instance(&instance.shown))?;
    known.ok_or_else(|| Fault::no_manifest(&instance.shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// `seq` of the last entry that the caller has.
    #[serde(default)]
    after: u64,
}

pub(crate) async fn audit(
    State(state): State<HttpState>,
    caller: Caller,
    instance: Instance,
    Parameters(After { after }): Parameters<After>,
) -> Result<Json<Vec<AuditView>>, Fault> {
    caller.must_in(&OPERATE, instance.id, &instance.shown)?;
    if !state.handle.see(instance.id, |found| found.is_some()).await? {
        return Err(Fault::unknown_instance(&instance.shown));
    }
    let wanted = AuditQuery { after, limit: Some(MAX_ENTRIES), ..AuditQuery::default() };
    Ok(Json(state.records.audit_entries(instance.id, wanted).await?))
}
