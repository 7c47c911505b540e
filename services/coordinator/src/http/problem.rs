//! What went wrong, for a person: a problem document (RFC 9457) that says what happened to which
//! thing, what is safe now, and the one next command.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use identity::{Role, TokenRefusal};
use ledger::RecordsError;
use machines::rotation::precheck::Findings;
use protocol::RotationId;
use protocol::api::{Problem, RotationView};
use protocol::audit::Phase;
use protocol::codes;
use protocol::report::Refusal;

use super::MAX_BODY;
use crate::Stopped;

/// Where the table of codes does not have one.
const UNCHANGED: &str = "Nothing has changed.";

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Fault(Box<Problem>, Option<(HeaderName, HeaderValue)>);

impl Fault {
    /// `detail` says what happened, and to which thing; what is safe and what is next is what the
    /// table of codes says, unless somebody knows it better.
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let entry = codes::find(code);
        let problem = Problem {
            kind: format!("https://keyhelm.dev/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            safe: entry.map_or(UNCHANGED, |entry| entry.safe).to_owned(),
            next_command: entry.and_then(|entry| entry.next).map(str::to_owned),
            unmet: Vec::new(),
        };
        Self(Box::new(problem), None)
    }

    fn next(mut self, command: impl Into<String>) -> Self {
        self.0.next_command = Some(command.into());
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.1 = Some((header::RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn unauthenticated(refusal: &TokenRefusal) -> Self {
        let mut fault =
            Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", sentence(&refusal.to_string()));
        fault.1 = Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        fault
    }

    pub(crate) fn role_lacking(sub: &str, roles: &[Role]) -> Self {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let text = format!("{sub} has none of the roles that may do this: {}.", names.join(", "));
        let next = roles.first().map(|role| format!("keyhelm token issue --role {role}"));
        let fault = Self::new(StatusCode::FORBIDDEN, "role-lacking", text);
        match next {
            Some(next) => fault.next(next),
            None => fault,
        }
    }

    pub(crate) fn not_covered(sub: &str, instance: &str) -> Self {
        let text = format!("The token of {sub} is not for instance {instance}.");
        Self::new(StatusCode::FORBIDDEN, "instance-not-covered", text)
            .next(format!("keyhelm token issue --instances {instance}"))
    }

    pub(crate) fn unknown_instance(instance: &str) -> Self {
        let text = format!(
            "No process has announced itself for instance {instance}: it does not exist, or its \
             units are not started."
        );
        Self::new(StatusCode::NOT_FOUND, "unknown-instance", text).next("keyhelm instances")
    }

    pub(crate) fn unknown_rotation(rotation: RotationId) -> Self {
        let text = format!("There is no rotation {rotation}.");
        Self::new(StatusCode::NOT_FOUND, "unknown-rotation", text)
    }

    /// The rotation is known, its receipt is not there.
    pub(crate) fn no_receipt(found: &RotationView) -> Self {
        let rotation = found.rotation;
        let not_found = |code: &str, text| Self::new(StatusCode::NOT_FOUND, code, text);
        match found.phase {
            Phase::Aborted => {
                let text = format!("Rotation {rotation} was aborted: there is nothing to prove.");
                not_found("no-receipt", text).next(format!("keyhelm rotations {rotation}"))
            }
            Phase::Done => {
                let text = format!(
                    "Rotation {rotation} has ended without a receipt: the coordinator did not hold \
                     every report when it ended."
                );
                not_found("no-receipt", text).next("keyhelm cryptounit-compare")
            }
            _ => {
                let text = format!(
                    "Rotation {rotation} is running: its receipt is made when it has ended well."
                );
                let next = format!("keyhelm rotations {rotation} --follow");
                not_found("receipt-not-yet", text).next(next)
            }
        }
    }

    /// Only the reports of the newest rotation are kept.
    pub(crate) fn reports_gone(rotation: RotationId) -> Self {
        let text = format!("Rotation {rotation} has ended: its units' reports are not kept.");
        Self::new(StatusCode::CONFLICT, "not-running", text)
            .next(format!("keyhelm rotations {rotation}"))
    }

    pub(crate) fn no_manifest(instance: &str) -> Self {
        let text = format!("Instance {instance} has no manifest: its units are in imprint mode.");
        Self::new(StatusCode::NOT_FOUND, "not-initialised", text)
    }

    pub(crate) fn no_key_check(instance: &str) -> Self {
        let text = format!("No check of the keys of instance {instance} is known.");
        Self::new(StatusCode::NOT_FOUND, "no-key-check", text)
            .next("keyhelm auto-mk-rotate --dry-run")
    }

    /// A request that cannot be understood; `detail` names the field.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn content_type() -> Self {
        let text = "The body is not JSON: send it with the header content-type: application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", text)
    }

    pub(crate) fn oversized() -> Self {
        let text = format!("The body has more than {MAX_BODY} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "oversized", text)
    }

    /// Conditions of a precheck, all of them.
    pub(crate) fn unmet(instance: &str, findings: Findings) -> Self {
        let unmet = findings.unmet;
        let texts: Vec<_> = unmet.iter().map(|unmet| unmet.text.as_str()).collect();
        let count = match unmet.len() {
            1 => "One condition is".to_owned(),
            many => format!("{many} conditions are"),
        };
        let text = format!("{count} not met in instance {instance}: {}.", texts.join("; "));
        let mend = unmet.iter().map(|unmet| &unmet.mend).find(|mend| mend.starts_with("keyhelm "));
        let next = mend.cloned().unwrap_or_else(|| "keyhelm cryptounit-compare".to_owned());
        let mut fault = Self::new(StatusCode::CONFLICT, "precheck-unmet", text).next(next);
        fault.0.unmet = unmet;
        fault
    }

    /// What a conductor refuses; `subject` is the instance or rotation that it is about.
    pub(crate) fn refused(subject: &str, refusal: &Refusal) -> Self {
        let (code, text) = (refusal.code.as_str(), sentence(&refusal.text));
        let conflict = || Self::new(StatusCode::CONFLICT, code, text.clone());
        match code {
            "unknown-instance" => Self::unknown_instance(subject),
            "not-taken" => {
                let text = format!("What was sent for instance {subject} is not taken: {text}");
                Self::new(StatusCode::CONFLICT, code, text)
            }
            "rotation-running" => conflict().next("keyhelm rotations"),
            "not-running" => {
                let text = format!("Rotation {subject} has ended: there is nothing to abort.");
                Self::new(StatusCode::CONFLICT, code, text)
                    .next(format!("keyhelm rotations {subject}"))
            }
            "keystore-silent" => {
                let text = format!("Rotation {subject} cannot be aborted yet. {text}");
                Self::new(StatusCode::CONFLICT, code, text).next("keyhelm explain")
            }
            "not-holding" => conflict().next(format!("keyhelm rotations {subject}")),
            "decided" => {
                let text = format!("Rotation {subject} cannot be aborted. {text}");
                Self::new(StatusCode::CONFLICT, code, text)
                    .next(format!("keyhelm rotations {subject}"))
            }
            _ => conflict(),
        }
    }

    /// The rotation is known but not taken up again yet.
    pub(crate) fn starting(rotation: RotationId) -> Self {
        let text = format!(
            "The coordinator has just started and is asking all units how they stand; rotation \
             {rotation} goes on after that."
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "starting", text).retry_after(3)
    }

    pub(crate) fn busy(what: &str) -> Self {
        let text = format!("The coordinator is busy: {what}.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(1)
    }

    pub(crate) fn no_answer() -> Self {
        let text = "The coordinator did not come to an answer in time; what was asked may still \
                    happen.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "no-answer", text).retry_after(5)
    }

    pub(crate) fn no_path(path: &str) -> Self {
        let text = format!("There is nothing at {path}.");
        Self::new(StatusCode::NOT_FOUND, "unknown-path", text)
    }

    pub(crate) fn no_method(method: &str, path: &str) -> Self {
        let text = format!("{path} does not know the method {method}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "unknown-method", text)
    }

    /// The coordinator answered something that does not belong to the question.
    pub(crate) fn unexpected(what: &str) -> Self {
        let text = format!("The coordinator gave an unexpected answer to {what}.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
    }
}

/// A capital in front, a full stop behind.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Self {
        let text = sentence(&stopped.to_string());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", text).retry_after(5)
    }
}

impl From<RecordsError> for Fault {
    fn from(error: RecordsError) -> Self {
        tracing::error!(%error, "the coordinator's store did not answer");
        let status = match &error {
            RecordsError::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let code = match &error {
            RecordsError::AuditBroken(_) => "audit-broken",
            RecordsError::Malformed { .. } => "store-malformed",
            _ => "store-unavailable",
        };
        Self::new(status, code, sentence(&error.to_string()))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some((name, value)) = self.1 {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
