//! What was asked, by whom, and what of it is remembered: in the audit log, and for repeats.

use machines::conductor::{Answer, Ask};
use machines::trust::manifest_digest;
use protocol::api::{RotationView, Started};
use protocol::report::Refusal;
use protocol::{InstanceId, Pattern, RotationId, UnixMillis};
use serde_json::json;
use tokio::sync::oneshot;

use super::journal::Entry;
use crate::handle::Asker;
use crate::request::Requester;

/// Who waits for an answer.
pub(crate) enum Waiter {
    /// Somebody in this process.
    Local(oneshot::Sender<Answer>),
    /// Whoever put the request on the queue.
    Queue(Requester),
    /// All those who wait for the instance's survey.
    Survey,
}

/// What the audit log says of a request, if it comes to something.
pub(crate) enum Matter {
    Start { order: Option<RotationId>, expect_current: Option<Pattern> },
    Abort { because: String },
    Document { action: &'static str, details: serde_json::Value },
    Nothing,
}

/// A request until it is answered.
pub(crate) struct Asked {
    pub(crate) waiter: Waiter,
    pub(crate) asker: Asker,
    matter: Matter,
}

impl Asked {
    pub(crate) fn new(waiter: Waiter, asker: Asker, ask: &Ask) -> Self {
        let matter = match ask {
            Ask::Start(start) => Matter::Start {
                order: start
                    .order
                    .as_ref()
                    .and_then(|order| Some(order.unverified().ok()?.rotation)),
                expect_current: start.expect_current,
            },
            Ask::Abort { because, .. } => Matter::Abort { because: because.clone() },
            Ask::Manifest(signed, standing) => {
                let serial = signed.unverified().map(|manifest| manifest.serial).ok();
                let digest = manifest_digest(&signed.bytes);
                let is_standing = standing.is_some();
                let details = json!({
                    "serial": serial, "digest": digest, "with_standing_order": is_standing,
                });
                Matter::Document { action: "manifest.take", details }
            }
            Ask::Standing(signed) => {
                let until = signed.unverified().map(|standing| standing.until).ok();
                let details = json!({ "until": until });
                Matter::Document { action: "standing-order.take", details }
            }
            Ask::HoldEnd(signed) => {
                let statement = signed.unverified().ok();
                let details = json!({
                    "rotation": statement.as_ref().map(|it| it.rotation),
                    "hold": statement.map(|it| it.hold),
                });
                Matter::Document { action: "hold.end", details }
            }
            Ask::Look | Ask::Draft(_) => Matter::Nothing,
        };
        Self { waiter, asker, matter }
    }

    /// Whoever names one rotation, or a pattern, does not join another.
    pub(crate) fn judge(&self, answer: Answer) -> Answer {
        let Matter::Start { order, expect_current } = &self.matter else { return answer };
        let Answer::Started { rotation, joined: true, .. } = &answer else { return answer };
        let is_other = order.is_some_and(|order| order != rotation.rotation)
            || expect_current.is_some_and(|expected| Some(expected) != rotation.from);
        match is_other {
            true => other_rotation(rotation),
            false => answer,
        }
    }

    /// The entry that says who asked, if the request came to something.
    pub(crate) fn entry(
        &self,
        instance: InstanceId,
        at: UnixMillis,
        answer: &Answer,
    ) -> Option<Entry> {
        let (action, details) = match (&self.matter, answer) {
            (Matter::Start { .. }, Answer::Started { rotation, joined, .. }) => {
                let action = if *joined { "request.join" } else { "request.start" };
                let (id, number) = (rotation.rotation, rotation.number);
                (action, json!({ "rotation": id, "number": number, "purpose": rotation.purpose }))
            }
            (Matter::Abort { because }, Answer::Aborting(rotation)) => {
                ("request.abort", json!({ "rotation": rotation, "because": because }))
            }
            (Matter::Document { action, details }, Answer::Taken) => (*action, details.clone()),
            _ => return None,
        };
        let action = action.to_owned();
        Some(Entry { instance, at, actor: self.asker.actor.clone(), action, details, event: None })
    }

    /// The name of the request and what repeats of it are told, where it started or joined one.
    pub(crate) fn remembered(&self, answer: &Answer) -> Option<(String, String)> {
        let name = self.asker.remember_as.clone()?;
        let started = started(answer)?;
        started.rotation.as_ref()?;
        Some((name, serde_json::to_string(&started).ok()?))
    }
}

/// An answer to a start, as clients see it; none if it is not one.
pub(crate) fn started(answer: &Answer) -> Option<Started> {
    match answer {
        Answer::Started { rotation, joined, warnings } => Some(Started {
            joined: *joined,
            rotation: Some(rotation.as_ref().clone()),
            warnings: warnings.warnings.clone(),
            plan: None,
        }),
        Answer::Planned(plan, findings) => Some(Started {
            joined: false,
            rotation: None,
            warnings: findings.warnings.clone(),
            plan: Some(plan.clone()),
        }),
        _ => None,
    }
}

/// Code and text of what keeps a request from coming to something: of a refusal, or of the first
/// condition that is not met.
pub(super) fn refusal(answer: &Answer) -> Option<(&str, &str)> {
    match answer {
        Answer::Refused(refusal) => Some((&refusal.code, &refusal.text)),
        Answer::Unmet(findings) => {
            findings.unmet.first().map_or(Some(("unmet", "")), |it| Some((&it.code, &it.text)))
        }
        _ => None,
    }
}

fn other_rotation(running: &RotationView) -> Answer {
    let id = running.rotation;
    let text = format!("rotation {id} is running, and it is not the one that was asked for");
    Answer::Refused(Refusal { code: "other-rotation".to_owned(), text })
}
