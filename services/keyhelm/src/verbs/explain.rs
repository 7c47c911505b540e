//! `explain`: what is going on, what is safe, and the one next command; or what a code means.

use protocol::InstanceId;
use protocol::api::{Explanation, InstanceView};
use protocol::codes;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::cli::explain::ExplainArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::out;
use crate::runbook;
use crate::show::explanation;
use crate::show::instances::heading;

/// An explanation and whose it is, for programs.
#[derive(Serialize)]
struct Explained<'a> {
    /// Whose; none where there is no instance yet.
    instance: Option<InstanceId>,
    name: Option<&'a str>,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Says how each instance stands, or the one that is named. Exit 3 if somebody must do something.
pub async fn run(app: &App, args: &ExplainArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    if args.instance.instance.is_none() && coordinator.instances().await?.is_empty() {
        return nobody(app);
    }
    let mut needs_person = false;
    for instance in app.instances(&coordinator, &args.instance).await? {
        let explanation = coordinator.explain(instance.id).await?;
        needs_person |= explanation.needs_person;
        let InstanceView { id, name, .. } = &instance;
        app.object(&Explained {
            instance: Some(*id),
            name: Some(name),
            explanation: &explanation,
        })?;
        app.line(format!("{}\n", heading(*id, name)))?;
        app.painted(format!("{}\n", explanation::screen(&explanation)))?;
    }
    told(needs_person)
}

/// Prints a section of the runbook.
pub fn section(code: &str, is_json: bool) -> Outcome {
    let Some(text) = runbook::section(code) else { return Err(unknown(code)) };
    match is_json {
        true => out::answer(&json!({ "code": code, "section": text }).to_string()),
        false => out::answer(&text),
    }
}

/// The coordinator is there, and nobody else has ever been.
fn nobody(app: &App) -> Outcome {
    let code = "nobody-announced";
    let entry = codes::find(code);
    let explanation = Explanation {
        code: code.to_owned(),
        headline: entry.map_or("", |entry| entry.sentence).to_owned(),
        details: Vec::new(),
        safe: entry.map_or("", |entry| entry.safe).to_owned(),
        next_command: entry.and_then(|entry| entry.next).map(str::to_owned),
        needs_person: true,
    };
    app.object(&Explained { instance: None, name: None, explanation: &explanation })?;
    app.painted(format!("{}\n", explanation::screen(&explanation)))?;
    told(true)
}

fn told(needs_person: bool) -> Outcome {
    match needs_person {
        true => Err(Failure::told(Exit::Unmet)),
        false => Ok(()),
    }
}

fn unknown(code: &str) -> Failure {
    let alike = runbook::alike(code);
    let what = match alike.is_empty() {
        true => format!("the runbook has no section {code}"),
        false => format!("the runbook has no section {code}; alike: {}", alike.join(", ")),
    };
    Failure::usage(what).next("keyhelm explain")
}
