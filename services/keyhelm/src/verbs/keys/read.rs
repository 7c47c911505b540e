//! Looking at keys, and opening them all.

use protocol::key_api::CheckFailureView;
use serde_json::Value;

use crate::app::App;
use crate::cli::keys::{CheckArgs, ListArgs, ShowArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::show::table::{self, Rows};
use crate::show::time::{count, counted};

/// Keys in one request.
const PAGE: usize = 1_000;

/// `keys list`.
pub async fn list(app: &App, args: &ListArgs) -> Outcome {
    let gateway = app.gateway(&args.instance).await?;
    let mut query = Vec::new();
    if !args.state.is_empty() {
        let states: Vec<_> = args.state.iter().map(u8::to_string).collect();
        query.push(("state", states.join(",")));
    }
    if let Some(text) = &args.search {
        query.push(("search", text.clone()));
    }
    let mut shown = table::plain(["KEY ID", "NAME", "TYPE", "STATE", "CREATED"]);
    let (mut found, limit) = (0, args.limit.unwrap_or(usize::MAX));
    while found < limit {
        let wanted = PAGE.min(limit - found);
        let page = gateway.list(found, wanted, &query).await?;
        for key in &page {
            app.object(key)?;
            // Programs get an object a line; of millions of keys nothing else is kept then.
            if !app.is_json() {
                let (id, name) = (text(key, "id"), text(key, "name"));
                shown.add_row([id, name, kind(key), state(key), created(key)]);
            }
        }
        found += page.len();
        if page.len() < wanted {
            break;
        }
    }
    app.line(match found {
        0 => "No keys.".to_owned(),
        _ => format!("{}\n\n{}.", table::text(&shown), counted(found as u64, "key")),
    })?;
    Ok(())
}

/// `keys show`.
pub async fn show(app: &App, args: &ShowArgs) -> Outcome {
    let gateway = app.gateway(&args.instance).await?;
    let key = gateway.show(&args.id, args.payload).await?;
    app.object(&key)?;
    let version = key.get("keyVersion").map(|version| text(version, "id"));
    let mut shown = table::plain(["", ""]);
    shown
        .add_row(["id".to_owned(), text(&key, "id")])
        .add_row(["name".to_owned(), text(&key, "name")])
        .add_row(["type".to_owned(), kind(&key)])
        .add_row(["state".to_owned(), state(&key)])
        .add_row(["version".to_owned(), version.unwrap_or_default()])
        .add_row(["created".to_owned(), created(&key)])
        .add_row(["created by".to_owned(), text(&key, "createdBy")]);
    if args.payload {
        shown.add_row(["payload".to_owned(), text(&key, "payload")]);
    }
    app.line(table::text(&shown).trim())?;
    Ok(())
}

/// `keys check`.
pub async fn check(app: &App, args: &CheckArgs) -> Outcome {
    let gateway = app.gateway(&args.instance).await?;
    app.note("Opening every key version in the crypto units....");
    let found = gateway.check().await?;
    app.object(&found)?;
    if !found.quarantined.is_empty() {
        let kept = counted(found.quarantined.len() as u64, "key version");
        app.line(format!(
            "{kept} in quarantine: no crypto unit opened them when the master key was rotated"
        ))?;
        app.line(table::text(&failures(&found.quarantined)))?;
    }
    if found.failures.is_empty() && found.opened == found.checked {
        app.ok(format!("{} checked, all of them open.", counted(found.checked, "key version")))?;
        return Ok(());
    }
    app.line(table::text(&failures(&found.failures)))?;
    let lacking = found.checked.saturating_sub(found.opened);
    let what = format!("{} of {} key versions do not open", count(lacking), count(found.checked));
    Err(Failure::new(Exit::Failed, "keys-unopened", what)
        .safe("nothing has changed; do not rotate before this is understood"))
}

fn failures(of: &[CheckFailureView]) -> Rows {
    let mut shown = table::wrapped(["KEY ID", "NAME", "VERSION", "REASON"]);
    for failure in of {
        shown.add_row([
            failure.id.to_string(),
            failure.name.clone(),
            failure.version.to_string(),
            failure.reason.clone(),
        ]);
    }
    shown
}

fn text(key: &Value, field: &str) -> String {
    key.get(field).and_then(Value::as_str).unwrap_or("-").to_owned()
}

fn created(key: &Value) -> String {
    text(key, "creationDate")
}

fn kind(key: &Value) -> String {
    match key.get("extractable").and_then(Value::as_bool) {
        Some(true) => "standard",
        Some(false) => "root",
        None => "-",
    }
    .to_owned()
}

fn state(key: &Value) -> String {
    match key.get("state").and_then(Value::as_u64) {
        Some(0) => "pre-active",
        Some(1) => "active",
        Some(2) => "suspended",
        Some(3) => "deactivated",
        Some(5) => "destroyed",
        _ => "-",
    }
    .to_owned()
}
