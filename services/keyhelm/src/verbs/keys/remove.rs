//! Deleting keys, and ending them.

use serde_json::json;

use crate::app::App;
use crate::cli::keys::RemoveArgs;
use crate::client::CallError;
use crate::client::gateway::Gateway;
use crate::failure::{Exit, Failure, Outcome};

#[derive(Clone, Copy)]
enum Deed {
    Delete,
    Purge,
}

impl Deed {
    const fn past(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Purge => "purged",
        }
    }

    async fn of(self, gateway: &Gateway, id: &str) -> Result<(), CallError> {
        match self {
            Self::Delete => gateway.delete(id).await,
            Self::Purge => gateway.purge(id).await,
        }
    }
}

/// `keys delete`.
pub async fn delete(app: &App, args: &RemoveArgs) -> Outcome {
    let question = "Delete these keys? Whoever uses them is refused at once.";
    app.confirm(question, args.yes)?;
    each(app, args, Deed::Delete).await
}

/// `keys purge`.
pub async fn purge(app: &App, args: &RemoveArgs) -> Outcome {
    let question = "Purge these keys? Nothing brings them back, nor what is wrapped under them.";
    app.confirm(question, args.yes)?;
    each(app, args, Deed::Purge).await
}

/// Every key is tried; those that are refused are named.
async fn each(app: &App, args: &RemoveArgs, deed: Deed) -> Outcome {
    let gateway = app.gateway(&args.instance).await?;
    let past = deed.past();
    let mut refused = Vec::new();
    for id in &args.ids {
        match deed.of(&gateway, &id.to_string()).await {
            Ok(()) => {
                app.object(&json!({ "id": id, "done": past }))?;
                app.line(format!("{id}  {past}"));
            }
            Err(CallError::Refused(error)) if error.status < 500 => refused.push((id, error)),
            Err(error) => return Err(error.into()),
        }
    }
    let Some((_, first)) = refused.first() else {
        app.ok(format!("{} {past}.", args.ids.len()));
        return Ok(());
    };
    let exit = match first.status {
        401 | 403 => Exit::NotPermitted,
        _ if first.retry_after_s.is_some() => Exit::Unfinished,
        _ => Exit::Failed,
    };
    let lines: Vec<_> =
        refused.iter().map(|(id, error)| format!("  {id}: {}", error.detail)).collect();
    let what =
        format!("{} of {} were not {past}\n{}", refused.len(), args.ids.len(), lines.join("\n"));
    Err(Failure::new(exit, "keys-refused", what).safe("the keys named have not changed"))
}
